// Scripted conversations of the official JavaScript client with a hub. Prints one JSON object: for each scenario what
// the client saw, or the error it raised. Arguments: URL, API key, binding (JSONRPC or HTTP+JSON), folder of the peers,
// version of the protocol (1.0 or 0.3): the client sees only interfaces of that version on the card.
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";

const [url, key, binding, peers, version] = process.argv.slice(2);
const load = createRequire(`${peers}/`);
const sdk = load("@a2a-js/sdk/client");
const { TaskState, Role, taskStateToJSON } = load("@a2a-js/sdk");

const authorized = (target, init) =>
  fetch(target, { ...init, headers: { ...init?.headers, Authorization: `Bearer ${key}` } });
const fetchCard = async (target, init) => {
  const answer = await authorized(target, init);
  const card = await answer.json();
  card.supportedInterfaces = card.supportedInterfaces.filter((one) => one.protocolVersion === version);
  return Response.json(card, { status: answer.status });
};
const legacyCompat = { enabled: version === "0.3" };
const transports = {
  JSONRPC: new sdk.JsonRpcTransportFactory({ fetchImpl: authorized, legacyCompat }),
  "HTTP+JSON": new sdk.RestTransportFactory({ fetchImpl: authorized, legacyCompat }),
};
const factory = new sdk.ClientFactory({
  transports: [transports[binding]],
  cardResolver: new sdk.DefaultAgentCardResolver({ fetchImpl: fetchCard }),
});
const client = await factory.createFromUrl(url);

const said = (text, more = {}) => ({
  tenant: "",
  message: {
    messageId: randomUUID(),
    contextId: "",
    taskId: "",
    role: Role.ROLE_USER,
    parts: [{ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "" }],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
    ...more,
  },
  configuration: undefined,
  metadata: undefined,
});
const atOnce = (text, more) => ({
  ...said(text, more),
  configuration: {
    acceptedOutputModes: [],
    taskPushNotificationConfig: undefined,
    historyLength: undefined,
    returnImmediately: true,
  },
});
const state = (status) => taskStateToJSON(status.state).replace("TASK_STATE_", "");
const texts = (parts) => parts.map((part) => (part.content.$case === "text" ? part.content.value : part.content.$case));
const told = (frame) => {
  const { $case, value } = frame.payload;
  if ($case === "task") return ["task", state(value.status)];
  if ($case === "artifactUpdate") return ["artifact", value.artifact.artifactId, value.append, value.lastChunk];
  if ($case === "statusUpdate")
    return ["status", state(value.status), ...(value.status.message ? texts(value.status.message.parts) : [])];
  return [$case];
};
const all = async (stream) => {
  const frames = [];
  for await (const frame of stream) frames.push(frame);
  return frames;
};
const error = async (work) => {
  try {
    await work;
    return "no error";
  } catch (raised) {
    return raised.name ?? String(raised);
  }
};

const scenarios = {
  async send() {
    const task = await client.sendMessage(said("echo hello"));
    return { state: state(task.status), artifact: texts(task.artifacts[0].parts), history: texts(task.history[0].parts) };
  },
  async message() {
    const answer = await client.sendMessage(said("final forty-two"));
    return { message: texts(answer.parts), task: answer.status === undefined };
  },
  async stream() {
    return (await all(client.sendMessageStream(said("stream 2")))).map(told);
  },
  async get() {
    const sent = await client.sendMessage(said("echo x"));
    const task = await client.getTask({ tenant: "", id: sent.id, historyLength: 0 });
    return { same: task.id === sent.id && task.contextId === sent.contextId, history: task.history.length };
  },
  async list() {
    const contextId = randomUUID();
    const sent = [];
    for (const n of [0, 1, 2]) sent.push((await client.sendMessage(said(`echo ${n}`, { contextId }))).id);
    const query = { tenant: "", contextId, status: TaskState.TASK_STATE_COMPLETED, pageSize: 2, pageToken: "" };
    const more = { historyLength: undefined, statusTimestampAfter: undefined, includeArtifacts: true };
    const first = await client.listTasks({ ...query, ...more });
    const second = await client.listTasks({ ...query, ...more, pageToken: first.nextPageToken });
    const seen = [...first.tasks, ...second.tasks].map((task) => task.id);
    return { total: first.totalSize, inOrder: seen.join() === sent.reverse().join(), last: second.nextPageToken };
  },
  async cancel() {
    const task = await client.sendMessage(atOnce("wait"));
    const cancelled = await client.cancelTask({ tenant: "", id: task.id, metadata: undefined });
    const again = await error(client.cancelTask({ tenant: "", id: task.id, metadata: undefined }));
    return { state: state(cancelled.status), again };
  },
  async subscribe() {
    const task = await client.sendMessage(atOnce("hold ?"));
    const frames = [];
    for await (const frame of client.resubscribeTask({ tenant: "", id: task.id })) {
      frames.push(told(frame));
      if (frames.at(-1)[1] === "INPUT_REQUIRED") break;
    }
    const done = await client.sendMessage(said("!", { taskId: task.id }));
    const closed = await error(all(client.resubscribeTask({ tenant: "", id: task.id })));
    return { first: frames[0][0], last: frames.at(-1)[1], done: state(done.status), closed };
  },
  async input() {
    const asked = await client.sendMessage(said("ask Which colour?"));
    const done = await client.sendMessage(said("blue", { taskId: asked.id, contextId: asked.contextId }));
    return {
      asked: state(asked.status),
      question: texts(asked.status.message.parts),
      same: done.id === asked.id,
      answer: texts(done.artifacts[0].parts),
    };
  },
  async streamedInput() {
    const frames = await all(client.sendMessageStream(said("hold Which colour?")));
    const taskId = frames[0].payload.value.id;
    const more = await all(client.sendMessageStream(said("red", { taskId })));
    return { asked: told(frames.at(-1)), done: told(more.at(-1)) };
  },
  async errors() {
    const done = await client.sendMessage(said("echo x"));
    const missing = randomUUID();
    const image = [
      { content: { $case: "raw", value: Buffer.from("x") }, metadata: undefined, filename: "", mediaType: "image/png" },
    ];
    return {
      missing: await error(client.getTask({ tenant: "", id: missing, historyLength: undefined })),
      nonsense: await error(client.getTask({ tenant: "", id: "nonsense", historyLength: undefined })),
      final: await error(client.sendMessage(said("more", { taskId: done.id }))),
      empty: await error(client.sendMessage(said("x", { parts: [] }))),
      type: await error(client.sendMessage(said("x", { parts: image }))),
      context: await error(client.sendMessage(said("x", { taskId: done.id, contextId: "other" }))),
      tenant: await error(client.getTask({ tenant: "other", id: done.id, historyLength: undefined })),
    };
  },
};

const report = {};
for (const [name, run] of Object.entries(scenarios)) {
  try {
    report[name] = await run();
  } catch (raised) {
    report[name] = { raised: `${raised.name}: ${raised.message}`, at: raised.stack };
  }
}
console.log(JSON.stringify(report));
