// What the pages do beyond plain forms and links. Everything here may be missing: then the pages still work.
import "./theme.js";
import "./forms.js";
import "./menus.js";
import "./live.js";
import "./countdown.js";
