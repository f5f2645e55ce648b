/** Commands that say whether all is well. */
import { systemClock } from "../../nats/clock.ts";
import { type Command, needed, textFlag } from "../command.ts";
import { EXIT } from "../exit.ts";
import { spanText } from "../output.ts";

const audit: Command = {
  name: "audit",
  usage: "<id>",
  summary: "whether a run kept every promise: its log against the invariants",
  async run(asked) {
    const { output, open } = asked;
    const id = needed(asked, 0, "run");
    const report = await (await open()).app.run(id).audit();
    output.give(report, () => {
      const { checked: { runs, nodes, facts }, unchecked, findings } = report;
      for (const { invariant, run, message } of findings) {
        output.line(`${output.error(invariant)}  ${run}: ${message}`);
      }
      output.line(
        `${findings.length === 0 ? "all is well" : `${findings.length} findings`}: ` +
          `${runs} runs, ${nodes} nodes, ${facts} records` +
          (unchecked > 0 ? `; ${unchecked} child runs were not looked at` : ""),
      );
    });
    return report.ok ? EXIT.ok : EXIT.failed;
  },
};

const doctor: Command = {
  name: "doctor",
  usage: "",
  summary: "what is wrong with the server and the namespace, and what cures it",
  flags: { monitoring: { type: "string" } },
  help: { monitoring: "http://<server>:<http_port>: also what only that port shows" },
  async run(asked) {
    const { output, open } = asked;
    const monitoringUrl = textFlag(asked, "monitoring");
    const { app } = await open();
    const report = await app.doctor(monitoringUrl === undefined ? {} : { monitoringUrl });
    output.give(report, () => {
      for (const { severity, code, message, cure } of report.findings) {
        const paint = severity === "error"
          ? (text: string) => output.error(text)
          : severity === "warning"
          ? (text: string) => output.warning(text)
          : (text: string) => output.faint(text);
        output.line(`${paint(severity.padEnd(7))}  ${code}: ${message}`);
        output.line(output.faint(`         ${cure}`));
      }
      if (report.findings.length === 0) output.line("nothing was found");
    });
    return report.ok ? EXIT.ok : EXIT.failed;
  },
};

const ps: Command = {
  name: "ps",
  usage: "",
  summary: "workers and processors that are alive",
  async run(asked) {
    const { output, open } = asked;
    const { app } = await open();
    const [workers, processors] = await Promise.all([app.workers(), app.processors()]);
    output.give({ workers, processors }, () => {
      output.table(
        ["PROCESS", "ID", "BUSY", "UP", "WHAT"],
        [
          ...processors.map(({ id, active, parked, concurrency, startedAt }) => [
            "processor",
            id,
            `${active}/${concurrency}`,
            spanText(systemClock.now() - startedAt),
            `${parked} quiet runs`,
          ]),
          ...workers.map(({ id, running, concurrency, startedAt, queues, tasks }) => [
            "worker",
            id,
            `${running}/${concurrency}`,
            spanText(systemClock.now() - startedAt),
            `${queues.join(",")}: ${tasks.map(({ name }) => name).join(", ")}`,
          ]),
        ],
      );
    });
    return EXIT.ok;
  },
};

export const health: readonly Command[] = [audit, doctor, ps];
