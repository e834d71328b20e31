// One file from a job of this run to a later one, through the store of artifacts that Actions have.
//
// GitHub's own actions for that refuse to work on Gitea and Forgejo; the service behind them
// (github.actions.results.api.v1.ArtifactService, JSON over HTTP) is the same on all three. Blocks
// and their list are those of Azure's blob store ("Put Block", "Put Block List"). Nothing here is
// trusted: `invoke handover --unpack` asks for the file's digest.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");

const NAME = "handover";
const BLOCK = 8 << 20;
const TRIES = 5;

const token = process.env.ACTIONS_RUNTIME_TOKEN || "";
const service = process.env.ACTIONS_RESULTS_URL || "";

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Ask until it works; what the other side will not do (4xx) is not asked again. */
async function ask(what, address, options) {
  for (let count = 1; ; count += 1) {
    let why;
    try {
      const answer = await fetch(address, options);
      if (answer.ok) return answer;
      why = `${answer.status} ${(await answer.text()).slice(0, 300)}`;
      if (answer.status < 500 && answer.status !== 429) count = TRIES;
    } catch (error) {
      why = String(error.cause || error);
    }
    if (count >= TRIES) throw new Error(`${what}: ${why}`);
    await pause(2 ** count);
  }
}

/** Call a method of the artifact service; field names come back in either spelling. */
async function call(method, request) {
  const path = `/twirp/github.actions.results.api.v1.ArtifactService/${method}`;
  const answer = await ask(method, new URL(path, new URL(service).origin), {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify(request),
  });
  return answer.json();
}

const field = (table, name) =>
  table[name] ?? table[name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];

/** The run and the job, which the token of this job names. */
function here() {
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
  const scope = claims.scp.split(" ").find((one) => one.startsWith("Actions.Results:"));
  const [, run, job] = scope.split(":");
  return { workflow_run_backend_id: run, workflow_job_run_backend_id: job };
}

async function send(file) {
  const content = fs.readFileSync(file);
  const made = await call("CreateArtifact", { ...here(), name: NAME, version: 4 });
  const address = field(made, "signed_upload_url");
  if (!address) throw new Error(`CreateArtifact: ${JSON.stringify(made)}`);
  const put = (query, body, headers = {}) =>
    ask("upload", `${address}&${query}`, { method: "PUT", body, headers });
  const names = [];
  for (let at = 0; at < content.length || at === 0; at += BLOCK) {
    const name = Buffer.from(String(names.length).padStart(8, "0")).toString("base64");
    await put(`comp=block&blockid=${encodeURIComponent(name)}`, content.subarray(at, at + BLOCK));
    names.push(name);
  }
  const list = names.map((name) => `<Latest>${name}</Latest>`).join("");
  const xml = `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`;
  await put("comp=blocklist", xml, { "x-ms-blob-content-type": "application/zip" });
  const sum = crypto.createHash("sha256").update(content).digest("hex");
  const size = String(content.length);
  const end = { ...here(), name: NAME, size, hash: `sha256:${sum}` };
  const done = await call("FinalizeArtifact", end);
  if (!done.ok) throw new Error(`FinalizeArtifact: ${JSON.stringify(done)}`);
  console.log(`left ${file}, ${size} B, sha256:${sum}`);
}

async function take(file) {
  const { artifacts = [] } = await call("ListArtifacts", { ...here(), name_filter: NAME });
  const id = (row) => Number(field(row, "database_id"));
  const [newest] = artifacts.filter((row) => row.name === NAME).sort((a, b) => id(b) - id(a));
  if (!newest) throw new Error("no job of this run has left a file");
  const found = await call("GetSignedArtifactURL", {
    workflow_run_backend_id: field(newest, "workflow_run_backend_id"),
    workflow_job_run_backend_id: field(newest, "workflow_job_run_backend_id"),
    name: NAME,
  });
  const answer = await ask("download", field(found, "signed_url"), {});
  fs.mkdirSync(require("node:path").dirname(file), { recursive: true });
  fs.writeFileSync(file, Buffer.from(await answer.arrayBuffer()));
  console.log(`took ${file}, ${fs.statSync(file).size} B`);
}

async function main() {
  if (!token || !service) throw new Error("this runner has no store for artifacts");
  const { INPUT_SEND: from, INPUT_TAKE: to } = process.env;
  if (!from === !to) throw new Error("either `send` or `take`");
  await (from ? send(from) : take(to));
}

main().catch((error) => {
  console.log(`::error::${error.message}`);
  process.exitCode = 1;
});
