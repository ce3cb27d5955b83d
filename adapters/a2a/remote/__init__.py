"""The other side of A2A: agents that work elsewhere, and how the hub calls them.

`card.py` decides whether an agent is one to work with, `bindings.py` writes calls and reads answers,
`answers.py` checks what comes back, `errand.py` sees one task through. The doors are beside this folder:
`client.py` calls one agent, `delegate.py` works for all of them. Everything leaves the hub through
`adapters/outbound.py`.
"""
