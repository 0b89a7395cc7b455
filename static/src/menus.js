// Menus and folded parts: menus close on a click elsewhere and on Escape, and the schedule is open on a wide screen.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest?.("details[data-menu][open]") ?? document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// On a phone the menu is wider than the screen: where one is comes into sight.
const menu = document.querySelector(".menu-many");
const here = menu?.querySelector(".active");
if (here) menu.scrollLeft += here.getBoundingClientRect().left - menu.getBoundingClientRect().left - (menu.clientWidth - here.offsetWidth) / 2;

// The style sheet shows a closed <details> on a wide screen where the browser can (::details-content).
if (!CSS.supports("selector(::details-content)")) {
  const wide = matchMedia("(min-width: 768px)");
  const open = () => {
    for (const part of document.querySelectorAll("details[data-wide-open]")) {
      if (wide.matches) part.open = true;
    }
  };
  wide.addEventListener("change", open);
  open();
}
