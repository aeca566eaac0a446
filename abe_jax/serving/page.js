// The page over an index: what is dropped, chosen, pasted or clicked goes to the server, and its
// answer is drawn. Text enters the page as text only, never as markup.
"use strict";

const at = (id) => document.getElementById(id);
const answers = []; // all of this visit, for the browser's way back
let index = null; // what the server says of itself
let asked = 0; // counts the questions: only the last one's answer is shown

function make(kind, settings = {}, ...inside) {
  const made = Object.assign(document.createElement(kind), settings);
  made.append(...inside);
  return made;
}

function say(words, wrong = false) {
  at("status").textContent = words;
  at("status").classList.toggle("wrong", wrong);
}

const plural = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

function number(value) {
  if (index.storage === "binary") return String(value);
  if (value > 0 && value < 0.001) return value.toExponential(1);
  return value.toFixed(value < 10 ? 3 : 1);
}

async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; does it still run?");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.error || `the server answered ${response.status}`);
  return content;
}

async function ask(path, body, words) {
  const turn = ++asked;
  say(words);
  at("ask").classList.add("busy");
  try {
    const answer = await fetched(path, { method: "POST", body });
    if (turn !== asked) return;
    answers.push(answer);
    history.pushState(answers.length - 1, "");
    show(answer);
  } catch (error) {
    if (turn === asked) say(error.message, true);
  } finally {
    if (turn === asked) at("ask").classList.remove("busy");
  }
}

function upload(file) {
  if (!file) return;
  if (index && file.size > index.upload) {
    say(`${file.name}: more than ${index.upload / 2 ** 20} MiB`, true);
    return;
  }
  ask("/search", file, `Searching with ${file.name || "the pasted image"} …`);
}

function tile(source, words) {
  const box = make("span", { className: "tile" });
  const gone = () => make("span", { className: "gone", textContent: "the file is gone" });
  if (!source) {
    box.append(gone());
    return box;
  }
  const image = make("img", { alt: words });
  image.addEventListener("load", () => {
    image.classList.toggle("fine", Math.max(image.naturalWidth, image.naturalHeight) <= 48);
  });
  image.addEventListener("error", () => box.replaceChildren(gone()));
  image.src = source;
  box.append(image);
  return box;
}

const named = (row) => row.label || row.path.split("/").pop();

function show(answer) {
  index = { ...index, ...answer };
  about(answer);
  at("answer").hidden = false;
  at("ask").classList.add("answered");
  at("query").replaceChildren(...query(answer.query));
  verdict(answer);
  at("neighbours").replaceChildren(...answer.neighbours.map(neighbour));
  attention(answer);
  votes(answer);
  say("");
  at("verdict").focus({ preventScroll: true });
}

function query(row) {
  const words = row.id === null ? "as the model sees it" : `${named(row)}, from the index`;
  return [tile(row.image, "the query"), make("figcaption", { textContent: words, title: row.path })];
}

function verdict(answer) {
  const rows = answer.neighbours;
  const near = rows.filter((row) => row.near).length;
  const limit = answer.threshold === null ? "" : number(answer.threshold);
  if (!rows.length) {
    at("verdict").textContent = "No neighbours";
    at("why").textContent = "The index holds no other image.";
  } else if (answer.match === null) {
    at("verdict").textContent = `Nearest: ${named(rows[0])}`;
    at("why").textContent =
      `The nearest of ${plural(answer.count, "image")} has a ${answer.distance} of ` +
      `${number(rows[0].distance)}. Whether that is near enough nothing says: this index is not ` +
      "calibrated (python -m abe_jax.index calibrate).";
  } else if (answer.match) {
    at("verdict").textContent = named(rows[0]);
    const those = near === 1 ? "One image is" : `${near} of those shown are`;
    at("why").textContent = `${those} near enough: a ${answer.distance} of ${limit} or less.`;
  } else {
    at("verdict").textContent = "No match";
    at("why").textContent =
      `The nearest has a ${answer.distance} of ${number(rows[0].distance)}; ` +
      `a match has ${limit} or less. Below is what is nearest all the same.`;
  }
}

function neighbour(row) {
  const metadata = Object.entries(row.metadata).map(([name, value]) => `${name}: ${value}`);
  const button = make(
    "button",
    { type: "button", title: [row.path, ...metadata].join("\n") },
    tile(row.image, ""),
    make("b", { textContent: named(row) }),
    make(
      "span",
      { className: "facts" },
      make("span", { className: "number", textContent: number(row.distance) }),
      make("span", { className: "path" }, make("bdi", { textContent: row.path })),
    ),
  );
  const far = row.near === false ? ", too far to match" : "";
  button.setAttribute(
    "aria-label",
    `${named(row)}, distance ${number(row.distance)}${far}, ${row.path}: search with it`,
  );
  button.addEventListener("click", () => {
    scrollTo({ top: 0 });
    ask(`/like/${row.id}`, undefined, `Searching with ${named(row)} …`);
  });
  const kind = row.near === null ? "" : row.near ? "near" : "far";
  return make("li", { className: kind }, button);
}

function attention(answer) {
  at("attention").hidden = !answer.attention;
  if (!answer.attention) return;
  at("choice").hidden = !answer.attention.differences;
  const chosen = document.querySelector("input[name=maps]:checked").value;
  const differences = chosen === "differences" && answer.attention.differences;
  const drawn = differences || answer.attention.masks;
  at("attention-note").textContent = differences
    ? "Each mask less the mean over the learners: blue where a learner looks more than the others " +
      "do, orange where it looks less. One scale for all."
    : "Each learner's mask over the shared features, averaged over its channels, with the image's " +
      "outlines drawn over it. One scale for all.";
  at("low").textContent = drawn.low.toFixed(3);
  at("high").textContent = drawn.high.toFixed(3);
  at("scale").src = drawn.scale;
  at("maps").replaceChildren(
    ...drawn.learners.map((map, place) =>
      make(
        "li",
        {},
        tile(map.image, `learner ${place + 1}: ${map.low.toFixed(3)} to ${map.high.toFixed(3)}`),
        make(
          "p",
          {},
          `Learner ${place + 1}`,
          make("small", { textContent: `${map.low.toFixed(2)} to ${map.high.toFixed(2)}` }),
        ),
      ),
    ),
  );
}

function votes(answer) {
  const rows = answer.neighbours;
  at("votes").hidden = answer.learners < 2 || !rows.length;
  if (at("votes").hidden) return;
  at("votes-note").textContent =
    `Each learner's own rank of each neighbour among all ${plural(answer.count, "image")}, and its ` +
    `own ${answer.distance}; their sum is the ensemble's. Filled: a vote, that is, among the ` +
    `learner's own ${rows.length} nearest.`;
  const heads = ["neighbour", "ensemble"];
  for (let m = 1; m <= answer.learners; m++) heads.push(`learner ${m}`);
  const head = heads.map((words) => make("th", { scope: "col", textContent: words }));
  const body = rows.map((row) => {
    const cells = row.learners.map((one) => {
      const voted = one.rank <= rows.length;
      const rank = make("span", { className: "rank", textContent: one.rank.toLocaleString("en") });
      if (voted) rank.title = "a vote";
      const own = make("small", { textContent: number(one.distance) });
      return make("td", { className: voted ? "voted" : "" }, rank, own);
    });
    const name = make("span", {}, tile(row.image, ""), make("b", { textContent: named(row) }));
    const all = make("td", { className: "all", textContent: number(row.distance) });
    return make("tr", {}, make("th", { scope: "row", title: row.path }, name), all, ...cells);
  });
  at("table").replaceChildren(
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...body),
  );
}

function about(state) {
  const learners = state.learners > 1 ? `${state.learners} learners of ` : "";
  const limit = state.threshold === null ? "" : ` · a match within ${number(state.threshold)}`;
  document.title = `${state.name} · abe_jax`;
  at("name").textContent = state.name;
  at("about").textContent =
    `${plural(state.count, "image")} · ${learners}${plural(state.dim, "dimension")} · ` +
    `${state.storage}${limit}`;
}

at("file").addEventListener("change", () => {
  upload(at("file").files[0]);
  at("file").value = ""; // so that the same file can be chosen again
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("ask").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("ask").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  at("ask").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) upload(file);
  else say("that was no file: save the image first, or copy and paste it", true);
});
addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (file) upload(file);
});
addEventListener("popstate", (event) => {
  if (answers[event.state]) show(answers[event.state]);
  else {
    at("answer").hidden = true;
    at("ask").classList.remove("answered");
  }
});
for (const choice of document.querySelectorAll("input[name=maps]")) {
  choice.addEventListener("change", () => attention(index));
}

fetched("/about")
  .then((state) => {
    index = state;
    about(state);
  })
  .catch((error) => say(error.message, true));
