// Countdowns of snapshots: they go by the server's clock, told with the page, and by the time that has passed here since.
// The clock of this computer may be wrong; what its steady counter sleeps through is asked for again.
const board = document.querySelector("[data-countdown]");

if (board) countdown(board);

function countdown(board) {
  const answered = performance.getEntriesByType("navigation")[0]?.responseStart ?? 0;
  let told = Number(board.dataset.now); // the server's instant, in ms …
  let at = answered; // … and where our steady counter stood then
  let ahead = Date.now() - performance.now(); // how the clock stands to the counter: it moves when the machine slept
  let asking = false;

  const now = () => told + performance.now() - at;

  function say(left) {
    const seconds = Math.max(0, Math.floor(left / 1000));
    const days = Math.floor(seconds / 86400);
    const part = (n) => String(n).padStart(2, "0");
    const clock = `${part(Math.floor(seconds / 3600) % 24)}:${part(Math.floor(seconds / 60) % 60)}:${part(seconds % 60)}`;
    return (days === 1 ? board.dataset.one : board.dataset.many).replace("{days}", days).replace("{clock}", clock);
  }

  function draw() {
    const present = now();
    for (const element of board.querySelectorAll("time[data-expires]")) {
      const text = say(Number(element.dataset.expires) * 1000 - present);
      if (element.textContent !== text) element.textContent = text;
    }
  }

  function tick() {
    const moved = Date.now() - performance.now() - ahead;
    if (Math.abs(moved) > 1500) {
      ahead += moved;
      if (moved > 0) at -= moved; // we slept, most likely; the server has the last word
      ask();
    }
    draw();
    setTimeout(tick, 1000 - (((now() % 1000) + 1000) % 1000));
  }

  // ask tells the server's clock anew.
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      const arrived = performance.now();
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-countdown]");
      if (answer.ok && fresh) [told, at] = [Number(fresh.dataset.now), arrived];
      draw();
    } catch {
      // No connection: the page says so by itself.
    } finally {
      asking = false;
    }
  }

  addEventListener("pageshow", (event) => event.persisted && ask());
  new MutationObserver(draw).observe(board, { childList: true, subtree: true });
  tick();
}
