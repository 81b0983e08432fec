// Opens a project in a running VS Code (web) and reports what a user would see, as JSON on standard output.
//   node drive-vscode.mjs URL SCREENSHOTS LABELS(JSON) [fine-tune]    with SCAFFOLDER_VSCODE=FOLDER of setup-vscode.sh
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const { chromium } = createRequire(path.join(process.env.SCAFFOLDER_VSCODE, "package.json"))("playwright-core");
const [url, screenshots, labels, fineTune] = process.argv.slice(2);
const project = new URL(url).searchParams.get("folder");
const configuration = "fine-tuning/lora.json";
const found = { tasks: {} };

const browser = await chromium.launch({
  executablePath: process.env.SCAFFOLDER_CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(30_000);

const shoot = (name) => page.screenshot({ path: path.join(screenshots, `${name}.png`) });
const rows = '.quick-input-widget .monaco-list-row';
const input = page.locator(".quick-input-widget input").first();
const terminal = () => page.locator(".terminal-wrapper.active .xterm-rows").innerText();
// innerText of the terminal pads with no-break spaces and breaks long lines.
const flat = (text) => text.replace(/\u00a0/g, " ").replace(/\s+/g, " ");

async function until(what, check, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await page.waitForTimeout(250)) {
    const value = await check().catch(() => undefined);
    if (value) return value;
  }
  throw new Error(`not seen within ${seconds} s: ${what}`);
}

async function quickOpen(text) {
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+P");
  await input.waitFor({ state: "visible" });
  await input.fill(text);
}

async function chooseTask(label) {
  await quickOpen(`task ${label}`);
  return until(
    `the task ${label}`,
    async () => {
      const names = await page.locator(rows).evaluateAll((all) => all.map((row) => row.ariaLabel ?? ""));
      return names.find((name) => name.startsWith(label));
    },
    20,
  );
}

async function runTask(label, sign, seconds = 60) {
  await chooseTask(label);
  await page.keyboard.press("Enter");
  return until(`"${sign}" in the terminal of ${label}`, async () => {
    // Tasks share a terminal, and only its last lines are there to read.
    const text = flat(await terminal());
    const own = text.slice(Math.max(text.lastIndexOf("Executing task:"), 0));
    return own.includes(sign) && own.lastIndexOf("Terminal will be reused") > own.indexOf(sign) && own;
  }, seconds);
}

async function command(title) {
  await quickOpen(`>${title}`);
  await page.locator(rows).first().waitFor();
  await page.keyboard.press("Enter");
}

async function open(file) {
  await quickOpen(file);
  await until(`${file} in the list`, async () => (await page.locator(rows).first().innerText()).includes(path.basename(file)));
  await page.keyboard.press("Enter");
  await page.locator(`.tab.active[aria-label*="${path.basename(file)}"]`).waitFor();
}

// To the end of the first line of the saved file that holds `text`.
async function goTo(text) {
  const lines = readFileSync(path.join(project, configuration), "utf8").split("\n");
  await quickOpen(`:${lines.findIndex((line) => line.includes(text)) + 1}:200`);
  await page.keyboard.press("Enter");
  await input.waitFor({ state: "hidden" });
}

// A new line after the line that holds `anchor`, with the beginning of a key; what is offered there.
async function offered(anchor, start, screenshot) {
  await goTo(anchor);
  await page.keyboard.press("Enter");
  await page.keyboard.type(`"${start}`, { delay: 60 });
  await page.keyboard.press("Control+Space");
  const labels = await until(`completions of ${start}`, async () => {
    const all = await page.locator(".suggest-widget.visible .monaco-list-row .label-name").allInnerTexts();
    return all.length && all;
  });
  await shoot(screenshot);
  await page.keyboard.press("Escape");
  return labels;
}

try {
  await page.goto(url);
  await page.locator(".monaco-workbench").waitFor();
  await page.locator(".explorer-folders-view .monaco-list-row").first().waitFor();

  for (const label of JSON.parse(labels)) found.tasks[label] = await chooseTask(label);
  await quickOpen("task ");
  await page.waitForTimeout(500);
  await shoot("tasks");

  found.doctor = await runTask("scaffolder: doctor", "model");
  await shoot("doctor");
  found.validate = await runTask("scaffolder: validate", "checked:");
  await shoot("validate");

  await open(configuration);
  await goTo("lora_dropuot");
  found.underlined = await until("an underlined key", () =>
    page.locator(".monaco-editor .squiggly-warning, .monaco-editor .squiggly-error").count(),
  );
  await command("Problems: Focus on Problems View");
  const problems = page.locator(".markers-panel .monaco-list-row");
  await until("the schema's complaint", async () => (await problems.allInnerTexts()).join().includes("not allowed"));
  found.problems = (await problems.allInnerTexts()).map(flat);
  await shoot("problems");

  await open(configuration);
  found.pass_keys = await offered('"alpha":', "lora_", "completion-pass");
  await page.keyboard.press("Control+Z");
  found.training_keys = await offered('"warmup_steps":', "weight", "completion-training");

  await command("File: Revert File");
  const file = path.join(project, configuration);
  writeFileSync(file, readFileSync(file, "utf8").replace("lora_dropuot", "lora_dropout"));
  found.mended = await runTask("scaffolder: validate", "checked:");
  await until("no problem left", async () => (await page.locator(".markers-panel .monaco-list-row").count()) === 0);
  if (fineTune) {
    found.run = await runTask("scaffolder: run fine-tuning", "fine-tuning/adapters/lora", 240);
    await shoot("run");
  }
} catch (error) {
  await shoot("gave-up");
  found.error = String(error);
} finally {
  await browser.close();
  console.log(JSON.stringify(found, null, 2));
}
