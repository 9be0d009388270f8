// Makes pages of the console live: what happens appears, and the slider rewinds at once. Every page
// works without it. Text from the server is only ever set as text, or is a page of ours.
"use strict";
(() => {
  const main = document.querySelector("main");
  const feed = document.getElementById("feed");
  const state = document.getElementById("stream-state");
  const LINES = 60;

  const say = (text) => {
    if (state) state.textContent = text;
  };

  const element = (name, text, className) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19);

  // A line of the feed, as the template home.html makes it.
  const line = (item) => {
    const made = element("li", "", "fresh");
    made.dataset.number = item.number;
    const time = element("time", moment(item.time).replace("T", " "));
    time.dateTime = `${moment(item.time)}Z`;
    const kind = element("span", item.kind, "mark");
    if (/^[a-z-]+$/.test(item.kind)) kind.classList.add(item.kind);
    made.append(time, " ", kind, " ");
    if (item.session) {
      const link = document.createElement("a");
      const query = new URLSearchParams({ session: item.session });
      if (item.user) query.set("user", item.user);
      if (item.issuer) query.set("issuer", item.issuer);
      link.href = `/console/session?${query}`;
      link.append(element("bdi", item.session));
      made.append(link, " ");
    }
    if (item.policy) {
      const policy = document.createElement("strong");
      policy.append(element("bdi", item.policy));
      made.append(policy, " ");
    }
    made.append(element("bdi", item.text));
    setTimeout(() => made.classList.remove("fresh"), 2000);
    return made;
  };

  // Fetches a page and puts these parts of it in the place of those that are here.
  let fetching = null;
  const refresh = async (address, ids) => {
    if (fetching) fetching.abort();
    const own = (fetching = new AbortController());
    const answer = await fetch(address, { signal: own.signal, credentials: "same-origin" });
    if (!answer.ok) {
      if (answer.status === 401) location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ids) {
      const [from, to] = [page.getElementById(id), document.getElementById(id)];
      if (from && to) to.replaceWith(document.importNode(from, true));
    }
    for (const selector of ["svg.curve", "#timeline"]) {
      const [from, to] = [page.querySelector(selector), document.querySelector(selector)];
      if (from && to) to.replaceWith(document.importNode(from, true));
    }
  };

  const quietly = (promise) => promise.catch(() => {});

  // Does the work once after that time, however often it is asked for meanwhile.
  let waits = null;
  const soon = (work, after) => {
    waits = waits || setTimeout(() => {
      waits = null;
      work();
    }, after);
  };

  const concerned = (item) =>
    (main.dataset.session && item.session === main.dataset.session) ||
    (main.dataset.user && item.user === main.dataset.user);

  const take = (item) => {
    if (feed) {
      feed.prepend(line(item));
      while (feed.children.length > LINES) feed.lastElementChild.remove();
      soon(() => quietly(refresh(location.href, ["figures", "waiting"])), 500);
    }
    if (concerned(item) && !("past" in main.dataset)) {
      soon(() => quietly(refresh(location.href, ["then"])), 100);
    }
  };

  let stream = null;
  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource("/console/events");
    stream.onopen = () => {
      main.dataset.streaming = "yes";
      say("live");
    };
    stream.onmessage = (event) => take(JSON.parse(event.data));
    stream.onerror = () => {
      delete main.dataset.streaming;
      say("not live: trying again");
      if (stream.readyState === EventSource.CLOSED) {
        stream = null;
        setTimeout(open, 30000);
      }
    };
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
    delete main.dataset.streaming;
  };

  if (main && "stream" in main.dataset) {
    open();
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
  }

  const form = document.querySelector("form[data-rewind]");
  if (form) {
    const at = form.querySelector("input[type=range]");
    const text = form.querySelector("output");
    at.addEventListener("input", () => {
      const shown = moment(Number(at.value)).replace("T", " ");
      text.textContent = shown;
      at.setAttribute("aria-valuetext", shown);
      main.dataset.past = "";
      soon(() => {
        const query = new URLSearchParams(new FormData(form));
        const address = `${form.getAttribute("action")}?${query}`;
        history.replaceState(null, "", address);
        quietly(refresh(address, ["then"]));
      }, 120);
    });
  }
})();
