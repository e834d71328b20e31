"use strict";
// QR codes of short texts, by the rules of ISO/IEC 18004: byte mode, error correction level M, the
// smallest of the versions 1 to 20 that the text fits, the mask of the lowest penalty.

// Table 9, level M, by version: error correction codewords of each block, and how many blocks.
const CHECKS = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

// Powers of 2 in the field of 256 elements with x^8 + x^4 + x^3 + x^2 + 1.
const POWERS = [1];
while (POWERS.length < 255) POWERS.push((POWERS.at(-1) << 1) ^ (POWERS.at(-1) > 127 ? 0x11d : 0));
const LOGARITHMS = POWERS.reduce((logs, power, at) => ({ ...logs, [power]: at }), {});

function product(one, two) {
  return one && two ? POWERS[(LOGARITHMS[one] + LOGARITHMS[two]) % 255] : 0;
}

// Reed-Solomon: what is left of the data times x^count, divided by (x - 2^0) … (x - 2^(count-1)).
function checks(data, count) {
  let divisor = [1];
  for (let at = 0; at < count; at++) {
    divisor = [...divisor, 0].map((value, i) => value ^ product(divisor[i - 1] ?? 0, POWERS[at]));
  }
  const rest = [...data, ...Array(count).fill(0)];
  for (let at = 0; at < data.length; at++) {
    const lead = rest[at];
    divisor.forEach((value, i) => { rest[at + i] ^= product(value, lead); });
  }
  return rest.slice(data.length);
}

// A value with the rest of its division by a binary polynomial behind it (BCH, annexes C and D).
function guarded(value, polynomial) {
  const length = polynomial.toString(2).length - 1;
  let rest = value << length;
  for (let bit = 31 - length; bit >= 0; bit--) {
    if ((rest >> (bit + length)) & 1) rest ^= polynomial << bit;
  }
  return (value << length) | rest;
}

// The centres of alignment patterns in a row (annex E): even steps back from the far side.
function centres(version, size) {
  if (version === 1) return [];
  const gaps = Math.floor(version / 7) + 1;
  const step = 2 * Math.ceil((size - 13) / gaps / 2);
  return [6, ...Array.from({ length: gaps }, (_, at) => size - 7 - step * (gaps - 1 - at))];
}

function format(cells, mask) {
  const size = cells.length;
  // level M is 00
  const bits = guarded(mask, 0x537) ^ 0x5412;
  for (let bit = 0; bit < 15; bit++) {
    const dark = Boolean((bits >> bit) & 1);
    if (bit < 8) cells[bit < 6 ? bit : bit + 1][8] = cells[8][size - 1 - bit] = dark;
    else cells[8][bit < 9 ? 7 : 14 - bit] = cells[size - 15 + bit][8] = dark;
  }
  cells[size - 8][8] = true;
}

// All that is the same for every text of a version; where data goes there is null.
function frame(version) {
  const size = 17 + 4 * version;
  const cells = Array.from({ length: size }, () => Array(size).fill(null));
  const square = (row, column, reach, light) => {
    for (let y = Math.max(0, row - reach); y <= Math.min(size - 1, row + reach); y++) {
      for (let x = Math.max(0, column - reach); x <= Math.min(size - 1, column + reach); x++) {
        cells[y][x] = !light.includes(Math.max(Math.abs(y - row), Math.abs(x - column)));
      }
    }
  };
  for (let at = 0; at < size; at++) cells[6][at] = cells[at][6] = at % 2 === 0;
  const middle = centres(version, size);
  for (const row of middle) {
    for (const column of middle) {
      // three corners have none: their finders are there
      const corner = Math.min(row, column) === 6 && [6, size - 7].includes(Math.max(row, column));
      if (!corner) square(row, column, 2, [1]);
    }
  }
  for (const [row, column] of [[3, 3], [3, size - 4], [size - 4, 3]]) square(row, column, 4, [2, 4]);
  format(cells, 0);
  if (version >= 7) {
    const bits = guarded(version, 0x1f25);
    for (let bit = 0; bit < 18; bit++) {
      const [along, across] = [Math.floor(bit / 3), size - 11 + (bit % 3)];
      cells[along][across] = cells[across][along] = Boolean((bits >> bit) & 1);
    }
  }
  return cells;
}

// Data and error correction codewords in the order in which they are placed, or null: too long.
function codewords(bytes, version, room) {
  const [count, length] = [BLOCKS[version - 1], CHECKS[version - 1]];
  const all = room - count * length;
  const digits = version < 10 ? 8 : 16;
  if (4 + digits + 8 * bytes.length > 8 * all) return null;
  let bits = `0100${bytes.length.toString(2).padStart(digits, "0")}`;
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  bits = bits.padEnd(Math.min(8 * all, bits.length + 4), "0");
  bits = bits.padEnd(8 * Math.ceil(bits.length / 8), "0");
  const data = bits.match(/.{8}/g).map((byte) => parseInt(byte, 2));
  for (let pad = 0; data.length < all; pad++) data.push(pad % 2 ? 0x11 : 0xec);
  const blocks = [];
  for (let at = 0; at < count; at++) {
    // the longer blocks come last
    const share = Math.floor(all / count) + (at >= count - (all % count) ? 1 : 0);
    blocks.push(data.splice(0, share));
  }
  const across = (rows) => {
    const longest = Math.max(...rows.map((row) => row.length));
    return Array.from({ length: longest }, (_, at) => rows.map((row) => row[at])).flat();
  };
  const guards = blocks.map((block) => checks(block, length));
  return [...across(blocks), ...across(guards)].filter((byte) => byte !== undefined);
}

// Where data goes, in its order: columns by twos from the right, up and down in turn.
function places(cells) {
  const found = [];
  const size = cells.length;
  let up = true;
  for (let right = size - 1; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let at = 0; at < size; at++) {
      const row = up ? size - 1 - at : at;
      for (const column of [right, right - 1]) if (cells[row][column] === null) found.push([row, column]);
    }
  }
  return found;
}

const MASKS = [
  (y, x) => (y + x) % 2,
  (y) => y % 2,
  (y, x) => x % 3,
  (y, x) => (y + x) % 3,
  (y, x) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2,
  (y, x) => ((y * x) % 2) + ((y * x) % 3),
  (y, x) => (((y * x) % 2) + ((y * x) % 3)) % 2,
  (y, x) => (((y + x) % 2) + ((y * x) % 3)) % 2,
];

// How often a line has the proportions 1:1:3:1:1 of a finder beside four times as much light.
function lookalikes(line) {
  // what is around the code is light
  const around = "0".repeat(line.length);
  const runs = `${around}${line}${around}`.match(/0+|1+/g).map((run) => run.length);
  let found = 0;
  for (let at = 1; at + 5 < runs.length; at += 2) {
    const [before, one, two, three, four, five, after] = runs.slice(at - 1, at + 6);
    if (two !== one || three !== 3 * one || four !== one || five !== one) continue;
    if (before >= 4 * one && after >= one) found++;
    if (after >= 4 * one && before >= one) found++;
  }
  return found;
}

// Table 11: runs of five and more, squares of two, what looks like a finder, too dark or too light.
function penalty(cells) {
  const rows = cells.map((row) => row.map(Number).join(""));
  const columns = rows.map((_, x) => rows.map((row) => row[x]).join(""));
  let sum = 0;
  for (const line of [...rows, ...columns]) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) sum += run.length - 2;
    sum += 40 * lookalikes(line);
  }
  for (let y = 1; y < rows.length; y++) {
    for (let x = 1; x < rows.length; x++) {
      const four = rows[y - 1].slice(x - 1, x + 1) + rows[y].slice(x - 1, x + 1);
      if (four === "0000" || four === "1111") sum += 3;
    }
  }
  const [dark, all] = [rows.join("").replaceAll("0", "").length, rows.length ** 2];
  // ten for each whole step of 5 % away from one half
  return sum + 10 * Math.floor(Math.abs(20 * dark - 10 * all) / all);
}

// Rows of modules, true is dark, without the light margin of four; null for a text that is too long.
function qr(text, wanted) {
  const bytes = [...new TextEncoder().encode(text)];
  for (let version = 1; version <= BLOCKS.length; version++) {
    const empty = frame(version);
    const free = places(empty);
    const words = codewords(bytes, version, Math.floor(free.length / 8));
    if (!words) continue;
    const masked = (mask) => {
      const cells = empty.map((row) => [...row]);
      free.forEach(([y, x], at) => {
        const bit = ((words[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
        cells[y][x] = Boolean(bit) !== (MASKS[mask](y, x) === 0);
      });
      format(cells, mask);
      return cells;
    };
    if (wanted !== undefined) return masked(wanted);
    const tried = MASKS.map((_, mask) => masked(mask));
    const sums = tried.map(penalty);
    return tried[sums.indexOf(Math.min(...sums))];
  }
  return null;
}

// The dark modules as an SVG path, with the margin that readers want.
function outline(cells) {
  const runs = cells.map((row, y) => {
    const found = [...row.map((dark) => (dark ? "1" : "0")).join("").matchAll(/1+/g)];
    return found.map((run) => `M${run.index + 4} ${y + 4}h${run[0].length}v1h-${run[0].length}z`).join("");
  });
  return runs.join("");
}

if (typeof module !== "undefined") module.exports = { qr, outline };
