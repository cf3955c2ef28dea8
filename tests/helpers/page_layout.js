// What of a page, shown in a frame, does not fit or cannot be read, and what its first point says.
const LEAST_TEXT = 6; // pixels of the screen, of words in a picture
const LEAST_CONTRAST = 4.5, LEAST_OF_PICTURES = 3; // WCAG 2.1 AA
const light = (colour) => {
  const [r, g, b] = colour.match(/[\d.]+/g).map((part) => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const scroller = (element, view) => {
  for (let parent = element.parentElement; parent; parent = parent.parentElement)
    if (["auto", "scroll"].includes(view.getComputedStyle(parent).overflowX)) return parent;
  return element;
};
const named = (element) => element.tagName + " " + (element.getAttribute("aria-label")
  || element.id || element.textContent.trim()).slice(0, 50);
function measured(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, width = page.documentElement.clientWidth;
  const faults = [], seen = new Set();
  page.querySelectorAll("details").forEach((part) => { part.open = true; });
  if (page.documentElement.scrollWidth > width) faults.push(`the page is ${page.documentElement.scrollWidth} wide`);
  for (const element of page.querySelectorAll("table, svg, img, pre, p, h1, h2, h3, li, summary, nav")) {
    const outer = scroller(element, view), box = outer.getBoundingClientRect();
    if (box.width && (box.left < -0.5 || box.right > width + 0.5) && !seen.has(outer))
      faults.push(`${named(element)}: ${Math.round(box.left)} to ${Math.round(box.right)}`);
    seen.add(outer);
  }
  for (const text of page.querySelectorAll("svg text")) {
    const turned = text.getScreenCTM(), scale = Math.hypot(turned.a, turned.b);
    const size = parseFloat(view.getComputedStyle(text).fontSize) * scale;
    if (size < LEAST_TEXT) faults.push(`text of ${size.toFixed(1)} pixels: ${text.textContent.slice(0, 40)}`);
  }
  const paper = view.getComputedStyle(page.body).backgroundColor;
  for (const element of [page.body, ...page.querySelectorAll(".answer, .note, h2, a, .verdict, .badge, td, svg text")]) {
    const found = view.getComputedStyle(element), ink = element.closest("svg") ? found.fill : found.color;
    if (/^rgb\(/.test(ink) && contrast(ink, paper) < (element.closest("svg") ? LEAST_OF_PICTURES : LEAST_CONTRAST))
      faults.push(`${named(element)}: ${ink} on ${paper}`);
  }
  const cloud = page.querySelector("[data-points]"), pointed = {};
  if (cloud) {
    const [across, down] = JSON.parse(cloud.dataset.points)[0], svg = cloud.querySelector("svg");
    const send = (name) => {
      svg.scrollIntoView({block: "center"});
      const box = svg.getBoundingClientRect();
      const clientX = box.x + across / 1e4 * box.width, clientY = box.y + down / 1e4 * box.height;
      svg.dispatchEvent(new view.PointerEvent(name, {clientX, clientY, bubbles: true}));
    };
    send("pointermove");
    pointed.tip = page.getElementById("tip").hidden ? "" : page.getElementById("tip").textContent;
    send("click");
    const card = page.getElementById("network");
    pointed.card = card.open ? [...card.querySelectorAll("tr")].map((row) => [...row.cells].map((cell) => cell.textContent)) : [];
    const edges = card.getBoundingClientRect();
    if (card.open && (edges.left < 0 || edges.right > width)) faults.push(`the card: ${edges.left} to ${edges.right}`);
  }
  return {faults: [...new Set(faults)], dark: light(paper) < 0.2, pointed,
          links: [...page.querySelectorAll("nav.side a")].map((link) => link.hash)};
}
