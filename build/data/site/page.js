"use strict";
// The choices of the form become the block. The same in Python is build/router/paste.py; what both
// know (parts, forms, texts) is data that Python wrote into the page.

function address4(text) {
  const octets = text.split(".");
  const fine = octets.length === 4 && octets.every((o) => /^(0|[1-9][0-9]{0,2})$/.test(o) && o < 256);
  return fine ? octets.reduce((sum, o) => sum * 256n + BigInt(o), 0n) : null;
}

function address6(text) {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [left, right] = [halves[0], halves[1] || ""].map((half) => (half ? half.split(":") : []));
  const groups = [...left, ...right];
  const whole = halves.length === 1 ? groups.length === 8 : groups.length < 8;
  if (!whole || !groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return null;
  const all = [...left, ...Array(8 - groups.length).fill("0"), ...right];
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

function networks(text) {
  const words = text.toLowerCase().split(",").map((word) => word.trim()).filter((word) => word);
  const fine = (word) => {
    const found = /^([0-9.]+|[0-9a-f:]+)\/([1-9][0-9]{0,2})$/.exec(word);
    if (!found) return false;
    const bits = found[1].includes(":") ? 128 : 32;
    const value = bits === 32 ? address4(found[1]) : address6(found[1]);
    const length = Number(found[2]);
    return value !== null && length <= bits && value % (1n << BigInt(bits - length)) === 0n;
  };
  return words.every(fine) ? words : null;
}

function tailnet(text) {
  const value = address4(text);
  return value !== null && value >> 22n === address4("100.64.0.0") >> 22n;
}

function faults(data, chosen) {
  const device = data.devices[chosen.device];
  const refused = [device.refusal, data.versions[chosen.version].refusal].filter((text) => text);
  if (refused.length) return refused;
  const found = [];
  if (device.small && !chosen.disk) found.push("disk-needed");
  const needed = { disk: false, image: true, files: !chosen.inline, magicdns: false };
  for (const name of Object.keys(needed)) {
    const fits = new RegExp(`^(?:${data.forms[name]})$`).test(chosen[name]);
    if (!fits && (needed[name] || chosen[name])) found.push(name);
  }
  if (chosen.image.includes(data.placeholder) && !found.includes("image")) found.push("image");
  const named = networks(chosen.lan);
  if (named === null) found.push("lan");
  else if (!named.length && (chosen.subnet || chosen.uses)) found.push("lan-needed");
  else if (!chosen.ipv6 && named.some((word) => word.includes(":"))) found.push("lan6");
  if (chosen.uses && !tailnet(chosen.uses)) found.push("uses");
  if (chosen.uses && chosen.exit) found.push("both");
  return found.map((name) => data.faults[name]);
}

function wordsOf(data, chosen) {
  const asked = {
    fetch: !chosen.inline,
    inline: chosen.inline,
    tar: chosen.tar,
    disk: chosen.disk,
    ipv6: chosen.ipv6,
    magicdns: chosen.magicdns,
    subnet: chosen.subnet,
    exit: chosen.exit,
    uses: chosen.uses,
    roles: chosen.subnet || chosen.exit || chosen.uses,
    shell: data.versions[chosen.version].shell,
  };
  return new Set(Object.keys(asked).filter((word) => asked[word]));
}

function valuesOf(data, chosen, undo) {
  const device = data.devices[chosen.device];
  const named = networks(chosen.lan);
  let roles = "";
  if (chosen.subnet) roles += ` --advertise-routes=${named.join(",")}`;
  if (chosen.exit) roles += " --advertise-exit-node";
  if (chosen.uses) roles += ` --exit-node=${chosen.uses} --exit-node-allow-lan-access`;
  const [tar, digest] = data.tars[device.image];
  return {
    DEVICE: device.name,
    VERSION: chosen.version,
    UNDO: undo,
    FILES: chosen.files,
    IMAGE: chosen.image,
    TAG: chosen.tar ? "" : "stable",
    DISK: chosen.disk,
    GATEWAY: data.link6[0],
    ADDRESS: data.link6[1],
    MAGICDNS: chosen.magicdns,
    TAR: chosen.disk ? `${chosen.disk}/${tar}` : tar,
    DIGEST: digest,
    LAN: named.join(", "),
    NETWORKS: named.filter((word) => !word.includes(":")).map((word) => `"${word}"`).join("; "),
    ROLES: roles,
  };
}

function assembled(parts, words, values) {
  const kept = ([asked]) =>
    asked.split(" ").filter((word) => word).every((word) => words.has(word.replace("!", "")) !== word.startsWith("!"));
  return parts.filter(kept).map(([, text]) => text.replace(/\{\{([A-Z]+)\}\}/g, (whole, name) => values[name] ?? whole));
}

function answer(data, chosen) {
  const wrong = faults(data, chosen);
  if (wrong.length) return { faults: wrong, block: "", notes: [], undo: "", renewal: "" };
  const undo = data.undo[0] + (chosen.uses ? data.undo[1] : "");
  const words = wordsOf(data, chosen);
  const values = valuesOf(data, chosen, undo);
  return {
    faults: [],
    block: `${assembled(data.parts, words, values).join("\n")}\n`,
    notes: assembled(data.notes, words, values),
    undo,
    renewal: chosen.files ? `${assembled(data.renewal, words, values).join("\n")}\n` : "",
  };
}

function start() {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const form = at("choices");
  const lines = (id, texts) => {
    at(id).replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  };
  const choices = () => {
    const chosen = {};
    for (const field of form.elements) {
      if (field.name) chosen[field.name] = field.type === "checkbox" ? field.checked : field.value.trim();
    }
    chosen.tar = chosen.tar === "tar";
    chosen.inline = chosen.inline === "inline";
    return chosen;
  };
  const show = () => {
    const chosen = choices();
    const device = data.devices[chosen.device];
    const told = answer(data, chosen);
    lines("faults", told.faults);
    at("impossible").hidden = !told.faults.length;
    at("result").hidden = !told.block;
    at("block").value = told.block;
    at("renewal").value = told.renewal;
    at("renew").hidden = !told.renewal;
    lines("notes", told.notes);
    at("undo").textContent = told.undo;
    lines("costs", data.costs[device.image] || []);
    at("expect").textContent = device.expect;
    at("tar-name").textContent = chosen.tar && told.block ? `Upload ${data.tars[device.image][0]} to the router's Files first.` : "";
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  const copy = async (text, said) => {
    text.select();
    // a browser may have no clipboard for a page from a file, or refuse it: then the old way
    let done = true;
    try { await navigator.clipboard.writeText(text.value); } catch { done = document.execCommand("copy"); }
    said.textContent = done ? "copied" : "not allowed here; the text is selected: press Ctrl+C";
    if (!done) text.focus();
  };
  for (const place of document.querySelectorAll(".copying")) {
    const [button, said] = place.children;
    button.addEventListener("click", () => copy(at(button.dataset.of), said));
    place.hidden = false;
  }
  // what a terminal broke into lines is whole again; a pasted break is a space in some browsers
  const scan = () => {
    const text = at("login").value.replace(/\s+/g, "");
    const cells = new RegExp(`^(?:${data.login[0]})$`).test(text) ? qr(text) : null;
    at("code").hidden = !cells;
    at("scanned").textContent = cells ? `It holds ${text}` : text && data.login[1];
    if (!cells) return;
    const picture = at("code").firstElementChild;
    picture.setAttribute("viewBox", `0 0 ${cells.length + 8} ${cells.length + 8}`);
    picture.lastElementChild.setAttribute("d", outline(cells));
  };
  at("login").addEventListener("input", scan);
  at("scan").hidden = false;
  form.hidden = false;
  show();
  scan();
}

if (typeof document !== "undefined") start();
else module.exports = { answer, networks };
