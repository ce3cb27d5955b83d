"""What an agent offers in a session: its modes, options and commands, kept as it says them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]

MODEL: Final = "model"
MODE: Final = "mode"
MOST_OPTIONS: Final = 100
MOST_COMMANDS: Final = 1000


@dataclass
class Offers:
    """The newest of each."""

    modes: Object | None = None
    options: list[Object] = field(default_factory=list)
    commands: list[Object] = field(default_factory=list)
    _models: Object | None = None
    """Models as agents told them before options existed; some still do."""

    def opened(self, result: Any) -> None:
        """What the answer to new, load, resume or fork says; what it leaves out stays."""
        if not isinstance(result, Mapping):
            return
        if isinstance(result.get("modes"), Mapping):
            self.modes = dict(result["modes"])
        if isinstance(result.get("models"), Mapping):
            self._models = dict(result["models"])
        self.set_options(result)

    def set_options(self, said: Any) -> None:
        """All options anew, from anything that has `configOptions`."""
        found = said.get("configOptions") if isinstance(said, Mapping) else None
        if isinstance(found, Sequence) and not isinstance(found, str):
            self.options = [dict(option) for option in found if isinstance(option, Mapping)][:MOST_OPTIONS]

    def hear(self, update: Mapping[str, Any]) -> bool:
        """Learn from an update; tell whether it said something new."""
        before = (self.modes, self.options, self.commands)
        match update.get("sessionUpdate"):
            case "available_commands_update":
                found = update.get("availableCommands")
                if isinstance(found, Sequence) and not isinstance(found, str):
                    self.commands = [dict(one) for one in found if isinstance(one, Mapping)][:MOST_COMMANDS]
            case "current_mode_update":
                mode = update.get("currentModeId", update.get("modeId"))
                if isinstance(mode, str):
                    self.modes = {**(self.modes or {"availableModes": []}), "currentModeId": mode}
            case "config_option_update":
                self.set_options(update)
        return before != (self.modes, self.options, self.commands)

    @property
    def told_options(self) -> list[Object]:
        """The options as the hub is told them, the old form of models included."""
        if self._models is None or any(option.get("category") == MODEL for option in self.options):
            return self.options
        models = self._models.get("availableModels")
        offered = [
            {"value": model["modelId"], "name": str(model.get("name") or model["modelId"])}
            for model in (models if isinstance(models, Sequence) else ())
            if isinstance(model, Mapping) and isinstance(model.get("modelId"), str)
        ]
        if not offered:
            return self.options
        option = {
            "id": MODEL,
            "name": "Model",
            "category": MODEL,
            "type": "select",
            "currentValue": self._models.get("currentModelId") or offered[0]["value"],
            "options": offered,
        }
        return [*self.options, option]

    @property
    def mode(self) -> str | None:
        """The agent's mode now."""
        current = (self.modes or {}).get("currentModeId")
        return current if isinstance(current, str) else None

    def has_mode(self, mode: str) -> bool:
        """Whether the agent has such a mode."""
        found = (self.modes or {}).get("availableModes")
        return isinstance(found, Sequence) and any(
            isinstance(one, Mapping) and one.get("id") == mode for one in found
        )

    def mode_option(self, mode: str) -> str | None:
        """The option by which the agent would take a mode that it is not in, where it tells modes so."""
        for option in self.options:
            other = option.get("category") == MODE and option.get("currentValue") != mode
            if other and mode in _values(option.get("options")):
                return str(option.get("id"))
        return None

    def model_chosen(self, model: str) -> None:
        """The agent took a model in the old form."""
        if self._models is not None:
            self._models = {**self._models, "currentModelId": model}

    def to_choose(self, chosen: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
        """What the owner chose and the agent does not have yet: option, value, whether in the old form."""
        own = {option.get("id") for option in self.options}
        return [
            (str(option["id"]), chosen[option["id"]], option["id"] not in own)
            for option in self.told_options
            if option.get("id") in chosen and chosen[option["id"]] != option.get("currentValue")
        ]


def _values(options: Any) -> set[Any]:
    """The values of a select, which may be in groups."""
    found: set[Any] = set()
    for option in options if isinstance(options, list) else ():
        if isinstance(option, Mapping):
            found |= _values(option["options"]) if "options" in option else {option.get("value")}
    return found
