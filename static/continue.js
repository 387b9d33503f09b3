// Follows the page's one form or link, so that nobody needs to press its button.
"use strict";
const next = document.querySelector("[data-continue]");
if (next instanceof HTMLFormElement) {
  next.submit();
} else if (next instanceof HTMLAnchorElement) {
  window.location.replace(next.href);
}
