// Runs once for each part of the page that is ours. Names are written as text, never as HTML.

function showMessage(element, props, watch) {
  element.setAttribute("role", "status");
  element.setAttribute("aria-live", "polite");
  const line = element.querySelector("p");
  const draw = () => {
    const value = props.value || {};
    line.textContent = value.text || "";
    line.className = value.error ? "fc-message fc-error" : "fc-message";
  };
  watch("value", draw);
  draw();
}

function saveFile(props, watch) {
  watch("value", () => {
    const file = props.value;
    if (!file || !file.data) return;
    const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: file.type }));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}

function showResult(element, props, watch) {
  const find = (name) => element.querySelector(".fc-" + name);
  const [figure, picture, mark, tip] = ["figure", "picture", "mark", "tip"].map(find);
  const [said, scroll, caption] = ["said", "scroll", "caption"].map(find);
  const body = element.querySelector("tbody");
  let rows = [];
  let ids = null; // one per pixel of the map
  let marked = -1;

  const cell = (line, text, kind) => {
    const made = line.appendChild(document.createElement(kind));
    made.textContent = text;
    return made;
  };

  const addRow = (row, index) => {
    const line = body.appendChild(document.createElement("tr"));
    const name = cell(line, "", "th");
    name.scope = "row";
    const square = name.appendChild(document.createElement("span"));
    square.className = "fc-square";
    square.style.background = row.color;
    name.append(row.name);
    for (const key of ["kind", "area", "score"]) cell(line, row[key], "td");
    line.addEventListener("pointerenter", () => markRow(index));
    line.addEventListener("pointerleave", () => markRow(-1));
  };

  // Darkens all but the row's pixels, or nothing for -1.
  const markRow = (index) => {
    if (index === marked) return;
    marked = index;
    [...body.rows].forEach((line, at) => line.classList.toggle("fc-marked", at === index));
    const context = mark.getContext("2d");
    context.clearRect(0, 0, mark.width, mark.height);
    if (index < 0 || !ids) return;
    const shade = context.createImageData(mark.width, mark.height);
    for (let at = 0; at < ids.length; at++) if (ids[at] !== rows[index].id) shade.data[4 * at + 3] = 150;
    context.putImageData(shade, 0, 0);
  };

  const describe = (row) => row.name + (row.score === "–" ? "" : ", score " + row.score) + ", " + row.area;

  const point = (event) => {
    if (!ids) return;
    const frame = mark.getBoundingClientRect();
    const x = Math.floor(((event.clientX - frame.left) / frame.width) * mark.width);
    const y = Math.floor(((event.clientY - frame.top) / frame.height) * mark.height);
    const inside = x >= 0 && y >= 0 && x < mark.width && y < mark.height;
    const index = inside ? rows.findIndex((row) => row.id === ids[y * mark.width + x]) : -1;
    markRow(index);
    tip.hidden = index < 0;
    if (index < 0) return;
    tip.textContent = describe(rows[index]);
    const left = event.clientX - frame.left + 12;
    tip.style.left = Math.max(0, Math.min(left, frame.width - tip.offsetWidth)) + "px";
    const top = event.clientY - frame.top;
    tip.style.top = (top > tip.offsetHeight + 12 ? top - tip.offsetHeight - 8 : top + 18) + "px";
  };

  const leave = () => {
    tip.hidden = true;
    markRow(-1);
  };

  const walk = (event) => {
    const last = rows.length - 1;
    const steps = {
      ArrowDown: Math.min(last, marked + 1),
      ArrowUp: Math.max(0, marked - 1),
      Home: 0,
      End: last,
      Escape: -1,
    };
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    markRow(steps[event.key]);
    said.textContent = marked < 0 ? "" : describe(rows[marked]);
    if (marked >= 0) body.rows[marked].scrollIntoView({ block: "nearest" });
  };

  const readMap = async (value) => {
    const map = new Image();
    map.src = value.map;
    await map.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [map.width, map.height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(map, 0, 0);
    const { data } = context.getImageData(0, 0, map.width, map.height);
    const read = new Uint16Array(map.width * map.height);
    for (let at = 0; at < read.length; at++) read[at] = data[4 * at] + 256 * data[4 * at + 1];
    if (props.value !== value) return; // another answer came meanwhile
    [mark.width, mark.height] = [map.width, map.height];
    ids = read;
    element.dataset.ready = "yes";
  };

  const draw = () => {
    const value = props.value;
    const known = Boolean(value && value.picture);
    leave();
    ids = null;
    element.dataset.ready = "no";
    find("empty").hidden = known;
    figure.hidden = scroll.hidden = find("hint").hidden = !known;
    said.textContent = "";
    body.replaceChildren();
    rows = known ? value.rows : [];
    if (!known) return;
    picture.src = value.picture;
    picture.alt = value.alt;
    figure.style.maxWidth = "calc(78vh * " + value.ratio + ")"; // the whole picture is seen at once
    caption.textContent = value.caption;
    rows.forEach(addRow);
    readMap(value);
  };

  figure.addEventListener("pointermove", point);
  figure.addEventListener("pointerdown", point);
  figure.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave()); // a finger hides it
  scroll.addEventListener("keydown", walk);
  scroll.addEventListener("blur", () => markRow(-1));
  watch("value", draw);
  draw();
}
