// The official TypeScript client of ACP against a hub, over one transport; it prints what it saw, as JSON.
//
// node acp.mjs URL KEY TRANSPORT PEERS [LAUNCHER…]
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [url, key, transport, peers, ...launcher] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${peers}/`));
const load = (name) => import(pathToFileURL(`${peers}/node_modules/${name}`));
const SDK = "@agentclientprotocol/sdk/dist";
const acp = await load(`${SDK}/v1/unstable/acp.js`);
const { createWebSocketStream } = await load(`${SDK}/transports/ws-stream.js`);
const { createHttpStream } = await load(`${SDK}/transports/http-stream.js`);

const headers = { Authorization: `Bearer ${key}` };

function opened() {
  if (transport === "websocket") {
    const { WebSocket } = require("ws");
    return [createWebSocketStream(`${url.replace("http", "ws")}/acp`, { headers, WebSocket }), () => {}];
  }
  if (transport === "http") return [createHttpStream(`${url}/acp`, { headers }), () => {}];
  const child = spawn(launcher[0], launcher.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  return [
    acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout)),
    () => child.stdin.end(),
  ];
}

async function editor(options, work) {
  const seen = { updates: [], asked: [], withdrawn: 0 };
  const app = acp
    .client({ name: "test" })
    .onNotification("session/update", ({ params }) => {
      seen.updates.push(params.update);
    })
    .onRequest("session/request_permission", ({ params, signal }) => {
      seen.asked.push(params.toolCall.toolCallId);
      if (options.choose) return { outcome: { outcome: "selected", optionId: options.choose } };
      return new Promise((resolve) => {
        signal?.addEventListener("abort", () => {
          seen.withdrawn += 1;
          resolve({ outcome: { outcome: "cancelled" } });
        });
      });
    });
  const [stream, done] = opened();
  try {
    return await app.connectWith(stream, async (cx) => {
      const info = await cx.request("initialize", {
        protocolVersion: acp.PROTOCOL_VERSION,
        clientCapabilities: {},
        clientInfo: { name: "test", version: "1" },
      });
      return await work(cx, seen, info);
    });
  } finally {
    done();
  }
}

const place = { cwd: "/work", mcpServers: [] };
const say = (cx, sessionId, text) =>
  cx.request("session/prompt", { sessionId, prompt: [{ type: "text", text }] });
const said = (seen, kind = "agent") =>
  seen.updates
    .filter((update) => update.sessionUpdate === `${kind}_message_chunk`)
    .map((update) => update.content.text)
    .join("");
const code = async (promise) => promise.then(() => "no error", (error) => error.code);
const until = async (holds) => {
  for (let n = 0; n < 2000 && !holds(); n += 1) await new Promise((go) => setTimeout(go, 10));
};

const report = {};
let kept;
await editor({}, async (cx, seen, info) => {
  report.initialize = { version: info.protocolVersion, name: info.agentInfo.name };
  const made = await cx.request("session/new", place);
  kept = made.sessionId;
  const answer = await say(cx, kept, "say one two three");
  report.prompt = { stop: answer.stopReason, text: said(seen) };
  await cx.request("session/set_mode", { sessionId: kept, modeId: "auto" });
  const set = await cx.request("session/set_config_option", { sessionId: kept, configId: "mode", value: "plan" });
  report.options = set.configOptions.map((option) => option.currentValue);
  const turn = say(cx, kept, "wait");
  await until(() => said(seen).endsWith("waiting"));
  await cx.notify("session/cancel", { sessionId: kept });
  report.cancel = (await turn).stopReason;
  report.failed = await code(say(cx, kept, "break it"));
});
for (const choice of ["yes", "no"]) {
  report[choice] = await editor({ choose: choice }, async (cx, seen) => {
    const { sessionId } = await cx.request("session/new", place);
    await say(cx, sessionId, "ask it");
    await cx.request("session/delete", { sessionId });
    return { asked: seen.asked, text: said(seen) };
  });
}
report.load = await editor({}, async (cx, seen) => {
  await cx.request("session/load", { sessionId: kept, ...place });
  const past = said(seen);
  const told = seen.updates.length;
  await cx.request("session/resume", { sessionId: kept, cwd: "/work" });
  const silent = seen.updates.length === told;
  const fork = await cx.request("session/fork", { sessionId: kept, ...place });
  const listed = await cx.request("session/list", {});
  await cx.request("session/close", { sessionId: kept });
  await cx.request("session/delete", { sessionId: fork.sessionId });
  return { past, user: said(seen, "user"), silent, listed: listed.sessions.length };
});
report.errors = await editor({}, async (cx) => ({
  unknown: await code(cx.request("session/load", { sessionId: "sess_none", ...place })),
  relative: await code(cx.request("session/new", { cwd: "here", mcpServers: [] })),
  method: await code(cx.request("_not/there", {})),
  closed: await code(cx.request("session/set_mode", { sessionId: kept, modeId: "auto" })),
  mode: await code(
    cx.request("session/set_mode", { sessionId: (await cx.request("session/new", place)).sessionId, modeId: "none" }),
  ),
  authenticate: JSON.stringify(await cx.request("authenticate", { methodId: "hub-token" })),
  logout: JSON.stringify(await cx.request("logout", {})),
  out: await code(cx.request("session/list", {})),
}));
console.log(JSON.stringify(report));
process.exit(0);
