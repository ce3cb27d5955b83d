// A server of the official TypeScript SDKs, to be called: `dual` (version 2), `legacy` and `compat` (version 1).
// It prints its endpoint, and serves until its standard input ends.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { z } from "zod";

const way = process.argv[2];
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

function equip(server) {
  server.registerTool(
    "echo",
    { title: "Echo it", description: "Says it again", inputSchema: z.object({ text: z.string() }) },
    async ({ text }) => ({ content: [{ type: "text", text }] }),
  );
  server.registerTool("boom", { description: "Fails", inputSchema: z.object({}) }, async () => {
    throw new Error("it failed");
  });
  server.registerPrompt("greet", { description: "A greeting" }, async () => ({
    messages: [{ role: "user", content: { type: "text", text: "Greet" } }],
  }));
  server.registerResource("note", "note://one", { mimeType: "text/plain" }, async (uri) => ({
    contents: [{ uri: uri.href, text: "the note" }],
  }));
}

async function dual() {
  const { McpServer, createMcpHandler } = await import("@modelcontextprotocol/server");
  const { toNodeHandler } = await import("@modelcontextprotocol/node");
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "typescript", version: "2" }, { instructions: "Be kind." });
    equip(server);
    return server;
  });
  return toNodeHandler(handler);
}

function ask(server, elicit) {
  server.registerTool("ask", { description: "Asks for a colour", inputSchema: {} }, async () => {
    const requestedSchema = { type: "object", properties: { colour: { type: "string" } } };
    const said = await elicit({ message: "Which colour?", requestedSchema });
    return { content: [{ type: "text", text: said.action === "accept" ? said.content.colour : said.action }] };
  });
}

async function firstServer() {
  const { McpServer } = await import("@modelcontextprotocol/sdk/server/mcp.js");
  const server = new McpServer({ name: "typescript", version: "1" }, { instructions: "Be kind." });
  equip(server);
  ask(server, (params) => server.server.elicitInput(params));
  return server;
}

async function legacy() {
  const { StreamableHTTPServerTransport } = await import("@modelcontextprotocol/sdk/server/streamableHttp.js");
  const sessions = new Map();
  return async (request, response) => {
    const id = request.headers["mcp-session-id"];
    let transport = sessions.get(id);
    if (transport === undefined) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (made) => sessions.set(made, transport),
      });
      await (await firstServer()).connect(transport);
    }
    await transport.handleRequest(request, response);
  };
}

async function compat() {
  const { SSEServerTransport } = await import("@modelcontextprotocol/sdk/server/sse.js");
  const sessions = new Map();
  return async (request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    if (request.method === "GET") {
      const transport = new SSEServerTransport("/messages", response);
      sessions.set(transport.sessionId, transport);
      await (await firstServer()).connect(transport);
    } else if (sessions.has(url.searchParams.get("sessionId"))) {
      await sessions.get(url.searchParams.get("sessionId")).handlePostMessage(request, response);
    } else {
      response.writeHead(404).end();
    }
  };
}

const handler = await { dual, legacy, compat }[way]();
const server = createServer((request, response) => {
  Promise.resolve(handler(request, response)).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
