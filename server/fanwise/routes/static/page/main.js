/** Puts the page together. */

import { Access } from "./access.js";
import { Channels } from "./channels.js";
import { Charts } from "./charts.js";
import { Chat } from "./chat.js";
import { Clients } from "./clients.js";
import { Closed } from "./closed.js";
import { Controls } from "./controls.js";
import { Demo } from "./demo.js";
import { byId } from "./dom.js";
import { Feed } from "./feed.js";
import { onNextFrame } from "./frames.js";
import { showCommand, showHint } from "./hint.js";
import { KeyForm } from "./keyform.js";
import { Hour, Past } from "./history.js";
import { Status } from "./status.js";
import { showForgiven, showTiles } from "./tiles.js";
import { Workers } from "./workers.js";

const access = new Access();
const past = new Past();
const hour = new Hour();
const status = new Status();
const charts = new Charts();
const controls = new Controls(access, charts, hour);
const chat = new Chat();
const keyForm = new KeyForm((key) => {
  access.set(key);
  feed.start();
});
const keyNeeded = () => feed.start(); // which hears the same, and asks for it
const clients = new Clients(access, keyNeeded);
const tables = [clients, new Channels(), new Closed()];
const workers = new Workers();
const demo = new Demo(access, keyNeeded);

function draw() {
  showTiles(past);
  clients.count(past.newest.now);
  charts.show({ minutes: past, hour }, past.newest);
  workers.show(past.newest);
  showHint(past.newest);
}

function showLists(document) {
  tables.forEach((table) => table.show(document));
  showForgiven(document.forgiven);
  charts.traffic(document);
}

/** What a browser does without the key, which only scripts can bring, is not offered where there is one. */
function showKeyed() {
  document.querySelector(".keyless").hidden = true;
  byId("chat-key").hidden = false;
  byId("chat-button").setAttribute("aria-describedby", "chat-key");
}

const feed = new Feed(access, {
  welcomed: (document) => {
    keyForm.hide();
    showCommand(access.key !== undefined);
    if (access.key !== undefined) {
      showKeyed();
    }
    status.server(document.server);
    charts.limits(document.limits);
    showLists(document);
    controls.connected();
    demo.look();
  },
  stats: (document) => {
    past.add(document);
    hour.add(document);
    status.heard(document);
    onNextFrame(draw);
  },
  lists: showLists,
  demo: (document) => demo.show(document),
  link: (state) => {
    status.link(state);
    demo.link(state);
  },
  keyNeeded: (refused) => {
    showKeyed();
    status.needsKey();
    demo.needsKey();
    keyForm.ask(refused);
  },
});

byId("hint-chat").addEventListener("click", () => chat.enter());
feed.start();
