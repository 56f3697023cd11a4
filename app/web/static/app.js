// What htmx alone does not do: keys, problems beside what was asked, a lost connection, small choices that are kept.
"use strict";

(() => {
  const LOOK_MILLISECONDS = 2000;
  const PATIENCE_MILLISECONDS = 400;
  const YEAR_SECONDS = 31536000;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const isField = (element) => element.matches("input:not([type=checkbox], [type=radio]), textarea, select");

  // Problems: an answer of 4xx or 5xx goes into the empty [data-problem] beside what was asked; what was shown stays.

  const asking = new WeakMap(); // by slot: the element whose request failed, and the button that sent it

  function slotOf(element) {
    const place = element.closest("[data-problem-here]");
    return place && one("[data-problem]", place);
  }

  function fill(slot, title, detail) {
    const problem = one("#other-problem").content.cloneNode(true);
    one(".title", problem).textContent = title;
    one(".detail", problem).textContent = detail;
    slot.replaceChildren(problem);
  }

  function remember(slot, config) {
    const event = config.triggeringEvent;
    asking.set(slot, { element: config.elt, button: event && event.submitter });
  }

  function askAgain(slot) {
    const { element, button } = asking.get(slot) || {};
    slot.replaceChildren();
    if (button && button.isConnected) button.click();
    else if (element && element.matches("button")) element.click();
    else if (element) htmx.trigger(element, element.dataset.againEvent || "again");
  }

  function tell(slot, status, text) {
    try {
      const problem = JSON.parse(text);
      fill(slot, problem.title, problem.detail);
    } catch {
      fill(slot, `Status ${status}`, "The server’s answer can’t be read.");
    }
  }

  function clear(place) {
    all("[aria-invalid]", place).forEach((field) => field.removeAttribute("aria-invalid"));
    all(".field-error[data-of]", place).forEach((error) => error.remove());
    const slot = one("[data-problem]", place);
    if (slot) slot.replaceChildren();
  }

  function tellFields(slot) {
    const place = slot.closest("[data-problem-here]");
    let isAllTold = true;
    for (const item of all("li[data-field]", slot)) {
      const field = one(`[name="${CSS.escape(item.dataset.field)}"]:not([type=hidden])`, place);
      if (!field) {
        isAllTold = false;
        continue;
      }
      const error = document.createElement("p");
      error.className = "field-error";
      error.role = "alert";
      error.dataset.of = error.id = `${field.id || field.name}-error`;
      error.textContent = item.textContent.trim();
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", error.id);
      field.after(error);
    }
    if (isAllTold && one("li[data-field]", slot)) slot.replaceChildren();
  }

  // What somebody does next on the screen takes old problems away, but those that are asked again by themselves.

  document.addEventListener("htmx:beforeRequest", (event) => {
    const { triggeringEvent } = event.detail.requestConfig;
    if (!triggeringEvent || !["click", "submit"].includes(triggeringEvent.type)) return;
    for (const slot of all("[data-problem]")) {
      if (!one("[data-again]", slot)) slot.replaceChildren();
    }
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (xhr.status < 400) return;
    const slot = slotOf(requestConfig.elt);
    if (!slot) return;
    remember(slot, requestConfig);
    stale(requestConfig.elt);
    event.detail.isError = false;
    if ((xhr.getResponseHeader("Content-Type") || "").startsWith("text/html")) {
      event.detail.shouldSwap = true;
      event.detail.target = slot;
      event.detail.swapOverride = "innerHTML";
      return;
    }
    event.detail.shouldSwap = false;
    tell(slot, xhr.status, xhr.responseText);
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const slot = event.detail.target;
    if (!slot.matches || !slot.matches("[data-problem]")) return;
    tellFields(slot);
    const wait = one("[data-again-after]", slot);
    const { element } = asking.get(slot) || {};
    if (wait && element && "asks" in element.dataset) {
      setTimeout(() => wait.isConnected && askAgain(slot), 1000 * Number(wait.dataset.againAfter));
    }
    const old = one("[data-renews]", slot);
    if (old) renew().then((isNew) => isNew && old.isConnected && askAgain(slot));
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    quiet(event.detail.elt);
    const status = event.detail.xhr.status;
    const place = event.detail.elt.closest("[data-problem-here]");
    if (!place || status < 200 || status >= 400) return;
    clear(place);
    if ("clears" in place.dataset) place.reset();
    if ("once" in place.dataset) place.remove();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-again]");
    const slot = button && button.closest("[data-problem]");
    if (slot) askAgain(slot);
  });

  // Who has signed in anew in another tab has another token: this page takes it over, and keeps what was typed in it.

  async function renew() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const given = fresh.body.getAttribute("hx-headers");
    if (!given || given === document.body.getAttribute("hx-headers")) return false;
    document.body.setAttribute("hx-headers", given);
    all("input[name=csrf]").forEach((field) => { field.value = headers({})["X-CSRF-Token"]; });
    const shown = one("#visitor");
    const visitor = one("#visitor", fresh);
    if (shown && visitor) shown.textContent = visitor.textContent;
    return true;
  }

  document.addEventListener("visibilitychange", () => { // somebody comes back from the other tab
    if (!document.hidden && one("[data-problem] [data-signs-in]")) renew();
  });

  // A question that a button opens comes into view, and has the focus; closed, it gives the focus back.

  let opener = null;

  document.addEventListener("htmx:afterSettle", (event) => {
    const opened = event.detail.target.querySelector(":scope > [data-opened]");
    if (!opened) return;
    opener = event.detail.requestConfig.elt;
    opened.focus({ preventScroll: true });
    opened.scrollIntoView({ block: "center" });
  });

  // A list that changed meanwhile waits until the row that somebody writes in is closed: it would take the text away.

  let isPutOff = false;

  document.addEventListener("htmx:beforeRequest", (event) => {
    const list = event.detail.elt;
    if (list.id !== "questions" || !one("textarea", list)) return;
    event.preventDefault();
    isPutOff = true;
  });

  document.addEventListener("htmx:afterSettle", () => {
    if (!isPutOff || one("#questions textarea")) return;
    isPutOff = false;
    htmx.trigger(document.body, "questions-changed");
  });

  // Done beside the pair, the focus goes back to it: the next key would press the same button again.

  document.addEventListener("htmx:afterSettle", (event) => {
    const { thenFocus } = event.detail.requestConfig.elt.dataset;
    const next = thenFocus && one(thenFocus);
    if (next) next.focus({ preventScroll: true });
  });

  document.addEventListener("click", (event) => {
    const close = event.target.closest("[data-close]");
    if (!close) return;
    close.closest("form").remove();
    if (opener) opener.focus();
  });

  // A lost connection shows, and recovers by itself; what only reads is asked again, what writes is left to people.

  document.addEventListener("htmx:sendError", (event) => {
    const { elt, requestConfig } = event.detail;
    const slot = slotOf(elt);
    if (!slot) return;
    remember(slot, requestConfig);
    stale(elt);
    slot.replaceChildren(one("#no-connection").content.cloneNode(true));
    look(slot, one(".problem", slot));
  });

  async function look(slot, problem) {
    while (problem.isConnected) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS));
      const answer = await fetch(document.body.dataset.live).catch(() => null);
      if (!answer || !answer.ok || !problem.isConnected) continue;
      const { element } = asking.get(slot) || {};
      if (element && "asks" in element.dataset) askAgain(slot);
      else {
        one(".detail", problem).textContent =
          "The server answers again. Whether this was saved is not known: look before you do it again.";
      }
      return;
    }
  }

  // As somebody types: the answer before stays, and is told as old when the next one takes long.

  let patience = 0;

  function stale(element) {
    if (element.id !== "question") return;
    all("#answer .answer").forEach((answer) => answer.classList.add("stale"));
  }

  function quiet(element) {
    if (element.id === "question") clearTimeout(patience);
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.detail.elt;
    if ("pauses" in element.dataset && document.hidden) event.preventDefault();
    if (element.id !== "question") return;
    clearTimeout(patience);
    patience = setTimeout(() => {
      stale(element);
      one("#asked-time").textContent = "asking…";
    }, PATIENCE_MILLISECONDS);
  });

  function tellCount(field) {
    const shown = field.name && one(`[data-count="${CSS.escape(field.name)}"]`);
    if (!shown) return;
    const format = new Intl.NumberFormat("en");
    const length = [...field.value].length;
    shown.textContent = `${format.format(length)} of ${format.format(field.dataset.max)} characters`;
  }

  document.addEventListener("input", (event) => tellCount(event.target));

  window.addEventListener("pageshow", () => { // the browser went back, and put the text back alone
    const field = one("#question");
    const asked = one("#found > input[name=question]");
    if (!field || !field.value.trim() || (asked && asked.value === field.value)) return;
    tellCount(field);
    htmx.trigger(field, "again");
  });

  document.addEventListener("reset", (event) => {
    setTimeout(() => {
      for (const field of all("[data-asks]", event.target)) {
        field.value = "";
        field.dispatchEvent(new Event("input", { bubbles: true }));
        field.focus();
      }
    });
  });

  // Keys: a letter clicks what carries it; of candidates and rows, the current one's.

  const singleKeys = one("#single-keys");
  let leads = false; // `g` was pressed

  function areKeysOn() {
    try {
      return localStorage.getItem("sameask_single_keys") !== "off";
    } catch {
      return true;
    }
  }

  if (singleKeys) {
    singleKeys.checked = areKeysOn();
    singleKeys.addEventListener("change", () => {
      try {
        localStorage.setItem("sameask_single_keys", singleKeys.checked ? "on" : "off");
      } catch { /* it is kept for this page alone */ }
    });
  }

  function items() {
    return all("article.candidate, tr[data-item]").filter((item) => item.offsetParent !== null);
  }

  function current() {
    const marked = items().find((item) => item.getAttribute("aria-current") === "true");
    return marked || items()[0];
  }

  function move(step) {
    const list = items();
    if (!list.length) return;
    const marked = list.findIndex((item) => item.getAttribute("aria-current") === "true");
    const next = list[Math.min(Math.max(marked + step, 0), list.length - 1)];
    list.forEach((item) => item.removeAttribute("aria-current"));
    next.setAttribute("aria-current", "true");
    next.scrollIntoView({ block: "nearest" });
  }

  function wearer(key) {
    const selector = `[data-key="${CSS.escape(key)}"]`;
    const item = current();
    const inside = item && one(selector, item);
    const outside = all(selector).filter((element) => !element.closest("article.candidate, tr[data-item]"));
    return inside || outside.find((element) => element.offsetParent !== null);
  }

  function act(element) {
    if (isField(element)) {
      element.focus();
      if (element.select) element.select();
    } else {
      element.click();
    }
  }

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (isField(target)) {
      if (key !== "Escape" || target.closest("[popover]")) return;
      target.blur(); // so that the next key is one of these
      event.preventDefault();
      return;
    }
    if (singleKeys && !singleKeys.checked && key !== "Escape") return;
    if ((key === " " || key === "Enter") && target.closest("button, a, summary, label, input")) return;
    const screen = leads && one(`[data-go-key="${CSS.escape(key)}"]`);
    leads = key === "g" && !leads;
    if (screen) screen.click();
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else {
      const element = wearer(key);
      if (!element || element.disabled) return;
      if (!event.repeat) act(element); // a held key would act on what nobody has seen yet
    }
    event.preventDefault();
  });

  // Import: the beginning of a dropped file is looked at first; the rest goes in pieces, once somebody says so.

  const SAMPLE_BYTES = 512 * 1024;
  const PIECE_BYTES = 1024 * 1024;
  let dropped = null;

  function headers(more) {
    return { "HX-Request": "true", ...JSON.parse(document.body.getAttribute("hx-headers")), ...more };
  }

  async function send(slot, address, method, body, more) {
    const typed = { "Content-Type": "application/octet-stream", ...more };
    const ask = () => fetch(address, { method, body, headers: headers(typed) }).catch(() => null);
    let answer = await ask();
    if (answer && answer.status === 403 && (await renew())) answer = await ask();
    if (answer && answer.ok) return answer;
    const html = answer && (answer.headers.get("Content-Type") || "").startsWith("text/html");
    if (html) slot.innerHTML = await answer.text();
    else if (answer) tell(slot, answer.status, await answer.text());
    else fill(slot, "No connection", "The server does not answer. Nothing was imported; try again.");
    return null;
  }

  async function lookAt(file) {
    const drop = one("[data-drop]");
    const slot = slotOf(drop);
    const job = one("#job");
    slot.replaceChildren();
    job.replaceChildren();
    dropped = file;
    const end = file.size > SAMPLE_BYTES ? file.slice(Math.max(SAMPLE_BYTES, file.size - SAMPLE_BYTES)) : "";
    const sample = new Blob([file.slice(0, SAMPLE_BYTES), end]);
    const named = { "X-File-Name": encodeURIComponent(file.name), "X-File-Size": String(file.size) };
    const answer = await send(slot, drop.dataset.drop, "POST", sample, named);
    if (!answer) return;
    job.innerHTML = await answer.text();
    htmx.process(job);
  }

  async function sendAll(form) {
    const slot = one("[data-problem]", form);
    const progress = one("progress", form);
    const button = one("[type=submit]", form);
    slot.replaceChildren();
    progress.hidden = false;
    button.disabled = true;
    for (let offset = progress.value; offset < dropped.size; offset += PIECE_BYTES) {
      const piece = dropped.slice(offset, offset + PIECE_BYTES);
      const at = { "X-File-Offset": String(offset) };
      if (!(await send(slot, form.dataset.sends, "PUT", piece, at))) {
        button.disabled = false;
        return;
      }
      progress.value = offset + piece.size;
    }
    button.disabled = false;
    htmx.trigger(form, "sent");
  }

  for (const drop of all("[data-drop]:not([data-refused])")) {
    for (const kind of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
      });
    }
    document.addEventListener("drop", (event) => event.dataTransfer.files[0] && lookAt(event.dataTransfer.files[0]));
    const field = one("input[type=file]", drop);
    field.addEventListener("change", () => field.files[0] && lookAt(field.files[0]));
    field.addEventListener("click", () => { field.value = ""; }); // or the same file would be no change
    document.addEventListener("click", (event) => {
      if (!event.target.closest("[data-forget]")) return;
      field.value = "";
      field.focus();
    });
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-sends]")) return;
    event.preventDefault();
    sendAll(event.target);
  });

  // Choices that are kept, and links.

  // Each arrow key is a choice: who chooses by keys says by a button that this is the one.
  let byPointer = false;
  document.addEventListener("pointerdown", () => { byPointer = true; }, true);
  document.addEventListener("keydown", () => { byPointer = false; }, true);

  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.name === "theme") {
      document.cookie = `sameask_theme=${field.value}; path=/; max-age=${YEAR_SECONDS}; SameSite=Lax`;
      document.documentElement.dataset.theme = field.value;
    } else if (field.closest("form[data-go]")) {
      if (byPointer) field.form.submit();
      else one("[data-go-to]", field.form).hidden = false;
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(location.href).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Copy it from the address bar"; },
    );
  });
})();
