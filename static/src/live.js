// Live pages: the event stream of a service replaces the pieces that say sse-swap.
//
// Each event carries a whole piece, so nothing has to be kept in order; still an older piece never replaces a newer
// one (data-version), what somebody is typing into, pressing or aiming at waits, drafts are kept, and opened parts stay
// open. While the stream is down the page says so, hides the progress and asks for itself every ten seconds.
import htmx from "htmx.org";
import "htmx-ext-sse";

// Stream is the one event stream of the page, as htmx sees it: it mends itself, and it lets go of its connection when
// nobody looks. Browsers allow six connections to a host, kept pages included; streams of forgotten pages would use
// them up.
class Stream extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.readyState = EventSource.CONNECTING;
    this.names = new Set();
    this.wait = 1000;
    addEventListener("pagehide", () => this.pause());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.open();
      else if (!document.querySelector(".run")) this.pause();
    });
    this.open();
  }

  open() {
    if (this.source) return;
    const source = (this.source = new EventSource(this.url));
    source.onopen = (event) => {
      this.wait = 1000;
      this.onopen?.(event);
    };
    source.onerror = (event) => {
      if (this.source !== source) return;
      this.onerror?.(event);
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.pause();
      this.timer = setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 2, 30_000);
    };
    for (const name of this.names) this.relay(name);
  }

  pause() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  close() {
    this.pause();
    this.readyState = EventSource.CLOSED;
  }

  get paused() {
    return !this.source;
  }

  addEventListener(name, listener, options) {
    super.addEventListener(name, listener, options);
    if (this.names.has(name)) return;
    this.names.add(name);
    if (this.source) this.relay(name);
  }

  relay(name) {
    this.source.addEventListener(name, (event) => this.dispatchEvent(new MessageEvent(name, { data: event.data })));
  }
}

htmx.createEventSource = (url) => new Stream(url);

const page = document.querySelector("[data-live]");
const silence = 45_000; // the server sends "ping" every 15 s: a stream that is silent for longer is dead
const every = 10_000;
const together = 50; // what comes within so many ms is exchanged at once: a card that goes and the row that comes in its place move the list once
const aiming = 1500; // a pointer that moved over a list within so many ms is on its way to something there

if (page) live(page);

function live(page) {
  const lost = page.querySelector("[data-live-lost]");
  const say = document.querySelector("[data-live-say]"); // the one place that is read aloud by itself
  const title = document.title;
  const waiting = new Map(); // pieces that came while somebody was typing, the newest of each element
  const arrived = new Map(); // pieces to be exchanged at once
  const last = new WeakMap(); // what each element got last
  let spoken = new Map(); // of each operation: the quarter that was last read aloud, and what to say at its end
  let noticed; // the kinds of banners that are there; they were read with the page
  let heard = Date.now();
  let pressed = null; // what the pointer is held down on
  let aimed = { at: null, when: 0 }; // what the pointer moved over last, and when
  let isLost = false;

  let stream;
  page.addEventListener("htmx:sseOpen", (event) => {
    if (!stream) {
      stream = event.detail.source;
      stream.addEventListener("ping", () => alive());
    }
    alive();
  });
  page.addEventListener("htmx:sseError", () => drop());
  page.addEventListener("htmx:sseBeforeMessage", (event) => {
    alive();
    event.preventDefault(); // htmx finds the element and the event; the exchange is ours
    if (!arrived.size) setTimeout(exchange, together);
    arrived.set(event.target, event.detail.data);
  });
  page.addEventListener("focusout", () => setTimeout(flush));
  // A press counts where it began and ended on the same element: what is being pressed is not exchanged meanwhile.
  page.addEventListener("pointerdown", (event) => (pressed = event.target));
  for (const end of ["pointerup", "pointercancel"])
    addEventListener(end, () => {
      pressed = null;
      setTimeout(flush);
    });
  // A list that grows moves what somebody is about to press: it waits until the pointer rests.
  page.addEventListener("pointermove", (event) => (aimed = { at: event.target, when: performance.now() }));
  page.addEventListener("submit", () => waiting.clear());
  setInterval(() => {
    if (document.hidden && stream?.paused) return;
    if (Date.now() - heard > silence) drop();
    if (isLost) refresh();
  }, every);
  addEventListener("online", () => refresh());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - heard > silence) refresh();
  });
  after();

  function alive() {
    heard = Date.now();
    if (!isLost) return;
    isLost = false;
    lost.hidden = true;
    page.classList.remove("is-lost");
  }

  function drop() {
    if (isLost) return;
    isLost = true;
    arrived.clear(); // what came before is no news any more; the next stream tells everything anew
    waiting.clear();
    lost.hidden = false;
    speak(lost.textContent);
    page.classList.add("is-lost");
    // No figure may stand still: the bars lose theirs until news come.
    for (const bar of page.querySelectorAll(".run progress[value]")) bar.removeAttribute("value");
    for (const figure of page.querySelectorAll(".run-percent, .run-numbers")) figure.textContent = "";
    for (const element of page.querySelectorAll("[sse-swap]")) last.delete(element);
    document.title = title;
  }

  // put exchanges the content of an element, unless that would disturb or set back.
  function put(element, html) {
    if (last.get(element) === html) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    if (isOlder(element, fresh.content)) return;
    if (isBusy(element)) {
      waiting.set(element, html);
      return;
    }
    waiting.delete(element);
    last.set(element, html);
    const open = [...element.querySelectorAll("details[data-keep][open]")].map((part) => part.id);
    const written = drafts(element);
    const back = element.contains(document.activeElement) ? wayBack(element, document.activeElement) : null;
    htmx.swap(element, html, { swapStyle: "innerHTML", swapDelay: 0, settleDelay: 0 });
    for (const id of open) {
      const part = id && document.getElementById(id);
      if (part) part.open = true;
    }
    for (const [id, value] of written) {
      const field = document.getElementById(id);
      if (field) field.value = value;
    }
    back?.();
    after();
  }

  // wayBack finds what had the focus in the fresh content: by its id, else what leads to the same. Where it is gone or
  // disabled the focus stays near, so that the next Tab goes on from here and not from the top of the page.
  function wayBack(element, had) {
    const same = () => [...element.querySelectorAll(had.localName)].filter((e) => e.getAttribute("href") === had.getAttribute("href") && e.textContent === had.textContent);
    const place = had.id ? -1 : same().indexOf(had);
    return () => {
      const now = had.id ? document.getElementById(had.id) : same()[place];
      for (const at of [now, element, element.closest("section, article"), document.querySelector("main")]) {
        if (!at || at.disabled) continue;
        if (at !== now) at.tabIndex = -1;
        at.focus({ preventScroll: true });
        if (document.activeElement === at) return;
      }
    };
  }

  function exchange() {
    const pieces = [...arrived];
    arrived.clear();
    for (const [element, html] of pieces) put(element, html);
  }

  function isOlder(element, fresh) {
    for (const next of fresh.querySelectorAll("[data-operation][data-version]")) {
      const now = element.querySelector(`[data-operation="${CSS.escape(next.dataset.operation)}"][data-version]`);
      if (now && Number(next.dataset.version) < Number(now.dataset.version)) return true;
    }
    return false;
  }

  // isBusy says that somebody is writing or pressing here.
  function isBusy(element) {
    const active = document.activeElement;
    if (pressed && element.contains(pressed)) return true;
    if (element.id === "list" && element.contains(aimed.at) && performance.now() - aimed.when < aiming) {
      setTimeout(flush, aiming);
      return true;
    }
    return element.contains(active) && active.matches("input:not([type=hidden]), textarea, select");
  }

  // drafts are texts that were changed and not yet sent.
  function drafts(element) {
    return [...element.querySelectorAll("input[id]:not([type=hidden]), textarea[id]")]
      .filter((field) => field.value !== field.defaultValue)
      .map((field) => [field.id, field.value]);
  }

  function flush() {
    for (const [element, html] of waiting) {
      if (!isBusy(element)) put(element, html);
    }
  }

  // after brings tab title and spoken words in step with what the page shows.
  function after() {
    const run = page.querySelector("[data-tab]:not([data-tab=''])");
    document.title = run ? `${run.dataset.tab} · ${title}` : title;
    const now = new Map();
    for (const bar of page.querySelectorAll(".run[data-operation]")) {
      const id = bar.dataset.operation;
      const before = spoken.get(id)?.quarter ?? 0;
      const value = bar.querySelector("progress[value]")?.value;
      const quarter = value === undefined ? before : Math.floor(value / 25);
      if (quarter > before && noticed) speak(bar.dataset.say);
      now.set(id, { quarter: Math.max(quarter, before), ended: bar.dataset.ended });
    }
    for (const [id, { ended }] of spoken) {
      if (!now.has(id)) speak(ended);
    }
    spoken = now;
    const banners = [...page.querySelectorAll("[data-notice]")];
    for (const banner of banners) {
      if (noticed && !noticed.has(banner.dataset.notice)) speak([...banner.querySelectorAll("p")].map((p) => p.textContent).join(" "));
    }
    noticed = new Set(banners.map((banner) => banner.dataset.notice));
  }

  function speak(text) {
    say.textContent = text.replace(/\s+/g, " ").trim();
  }

  // refresh fetches the page itself and takes its pieces: the way where event streams don't get through.
  async function refresh() {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") {
        location.reload();
        return;
      }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const element of page.querySelectorAll("[sse-swap]")) {
        const piece = fresh.querySelector(`[sse-swap="${element.getAttribute("sse-swap")}"]`);
        if (piece) put(element, piece.innerHTML);
      }
    } catch {
      // Still no connection; the banner says so already.
    }
  }
}
