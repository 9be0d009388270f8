// The page: two buttons, and what came of the last call.
import settings from "./settings.js";
import { StepUp } from "./step-up.js";

const stepUp = new StepUp(settings);
const output = document.querySelector("output");

async function show(answer) {
  try {
    const response = await answer;
    if (response !== null) output.textContent = `${response.status} ${await response.text()}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

const click = (id, call) => document.querySelector(id).addEventListener("click", () => show(call()));
click("#read", () => stepUp.fetch("/accounts"));
click("#pay", () => stepUp.fetch("/payments/7", { method: "POST" }));
show(stepUp.start());
