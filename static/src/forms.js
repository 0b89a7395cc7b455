// Comforts of forms: one time for all days, filters that apply at once, no double posts, the zone of the browser.

// Same time for all days.
for (const form of document.querySelectorAll("[data-schedule]")) {
  const same = form.querySelector("[data-same]");
  const all = form.querySelector("[data-same-time]");
  const times = [...form.querySelectorAll("[data-day-time]")];
  const spread = () => {
    if (!same.checked || !all.value) return;
    for (const time of times) time.value = all.value;
  };
  same.addEventListener("change", spread);
  all.addEventListener("input", () => {
    same.checked = true;
    spread();
  });
  for (const time of times) {
    time.addEventListener("input", () => {
      if (time.value !== all.value) same.checked = false;
    });
  }
}

// A filter applies when it is chosen.
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// A form is sent once, however often its button is tapped. When the browser shows the page again from its memory,
// the form is free again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
});

// A refusal is read first.
document.querySelector("[data-refusal][tabindex]")?.focus({ preventScroll: true });

// Where the browser's zone is not the schedule's, say so.
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

function clock(zone) {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(new Date());
}

// The sentences come from the page, in its language, with places to fill.
function fill(sentence, words) {
  return sentence.replace(/\{([a-z-]+)\}/g, (place, name) => words[name] ?? place);
}

const plain = (zone) => zone.replaceAll("_", " ");

for (const hint of document.querySelectorAll("[data-zone-differs], [data-zone-hint]")) {
  const zone = hint.dataset.zone;
  try {
    if (!here || zone === here || clock(zone) === clock(here)) continue;
    hint.textContent = fill(hint.dataset.sentence, { here: plain(here), "here-time": clock(here), zone: plain(zone), "zone-time": clock(zone) });
    hint.hidden = false;
  } catch {
    // A zone that this browser does not know: no hint.
  }
}

for (const hint of document.querySelectorAll("[data-zone-mine]")) {
  if (!here) continue;
  hint.textContent = fill(hint.dataset.sentence, { here: plain(here) });
  hint.hidden = false;
}
