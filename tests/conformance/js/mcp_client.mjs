// A conversation of the official TypeScript client with a server behind the gateway. Prints one JSON object: what
// the client saw, or the error that it raised. Arguments: URL, API key, mode (legacy or 2026-07-28), folder of the
// peers, and how the server asks: 2026-07-28 in results, anything else over the wire.
import { pathToFileURL } from "node:url";

const [url, key, mode, peers, asks] = process.argv.slice(2);
const entry = `${peers}/node_modules/@modelcontextprotocol/client/dist/index.mjs`;
const { Client, StreamableHTTPClientTransport } = await import(pathToFileURL(entry));

const versionNegotiation = { mode: mode === "legacy" ? "legacy" : { pin: mode } };
const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };
const client = new Client({ name: "typescript", version: "1" }, { capabilities, versionNegotiation });
client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ann", username: "Ann", email: "a@b" } }));
client.setRequestHandler("sampling/createMessage", async () => ({
  role: "assistant",
  model: "none",
  content: { type: "text", text: "Paris" },
}));
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${key}` } },
});

const seen = {};
const scenario = async (name, work) => {
  try {
    seen[name] = await work();
  } catch (error) {
    seen[name] = { error: String(error) };
  }
};
const said = (result) => result.content[0].text;
const call = (name, args = {}, options = undefined) => client.callTool({ name, arguments: args }, options);

await client.connect(transport);
seen.version = client.getNegotiatedProtocolVersion?.() ?? mode;
await scenario("tools", async () => (await client.listTools()).tools.length);
await scenario("text", async () => said(await call("test_simple_text")));
await scenario("progress", async () => {
  const heard = [];
  await call("test_tool_with_progress", {}, { onprogress: (progress) => heard.push(progress.progress) });
  return heard;
});
await scenario("asked", async () =>
  asks !== "2026-07-28"
    ? said(await call("test_elicitation", { message: "Who?" }))
    : said(await call("test_input_required_result_elicitation")),
);
await scenario("sampled", async () =>
  asks !== "2026-07-28"
    ? said(await call("test_sampling", { prompt: "Capital?" }))
    : said(await call("test_input_required_result_sampling")),
);
await scenario("prompt", async () => (await client.getPrompt({ name: "test_simple_prompt" })).messages.length);
await scenario("resource", async () => (await client.readResource({ uri: "test://static-text" })).contents[0].text);
await scenario("unknown", async () => call("nothing"));
await client.close();
console.log(JSON.stringify(seen));
process.exit(0);
