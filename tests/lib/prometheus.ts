/** A real Prometheus (Debian's) that scrapes one target every second, with conf/alerts.yml. */
import type { Fixture } from "./fixture.ts";
import { pollProcess } from "./poll.ts";
import { freePort } from "./ports.ts";
import { Process } from "./process.ts";
import { need, ROOT } from "./repo.ts";

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

export interface RuleState {
  readonly name: string;
  readonly type: "alerting" | "recording";
  readonly health: string;
  readonly lastError?: string;
  /** Of an alert: inactive, pending (its condition holds), firing. */
  readonly state?: string;
}

export class Prometheus {
  private constructor(readonly port: number, readonly process: Process) {}

  /**
   * Resolves when it answers.
   * @param target its port, on the loopback address; the job is called "ringmaster"
   * @param features that are off unless asked for
   */
  static async start(f: Fixture, target: number, features: readonly string[] = []): Promise<Prometheus> {
    const port = freePort();
    const file = `${f.dir}/prometheus.yml`;
    await Deno.writeTextFile(
      file,
      `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ["${ROOT}/conf/alerts.yml"]
scrape_configs:
  - job_name: ringmaster
    static_configs: [{ targets: ["127.0.0.1:${target}"] }]
`,
    );
    const args = [
      `--config.file=${file}`,
      `--storage.tsdb.path=${f.dir}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
      ...features.map((feature) => `--enable-feature=${feature}`),
    ];
    const process = f.add(new Process(need("prometheus"), args, { output: `${f.dir}/prometheus.log` }));
    const prometheus = new Prometheus(port, process);
    await pollProcess(process, async () => {
      const response = await fetch(`http://127.0.0.1:${port}/-/ready`);
      await response.body?.cancel();
      return response.ok;
    }, "Prometheus to be ready");
    return prometheus;
  }

  /** What it has logged: warnings and worse. */
  get log(): string {
    return this.process.stderr;
  }

  async query(expression: string): Promise<readonly Series[]> {
    const { resultType, result } = await this.api("query", { query: expression });
    if (resultType !== "vector") throw new Error(`${expression} is a ${resultType}`);
    return result;
  }

  async rules(): Promise<readonly RuleState[]> {
    const { groups } = await this.api("rules");
    return groups.flatMap(({ rules }: { rules: RuleState[] }) => rules);
  }

  /** "up" or "down", and why. */
  async target(): Promise<{ readonly health: string; readonly lastError: string }> {
    return (await this.api("targets")).activeTargets[0];
  }

  private async api(path: string, parameters: Record<string, string> = {}): Promise<any> {
    const url = `http://127.0.0.1:${this.port}/api/v1/${path}?${new URLSearchParams(parameters)}`;
    const { status, data, error } = await (await fetch(url)).json();
    if (status !== "success") throw new Error(`${parameters.query ?? path}: ${error}`);
    return data;
  }
}
