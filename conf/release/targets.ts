/** What there are executables for. `deno task release --list`, `--version`, docs/install.md and the tests read this table. */

export interface Target {
  /** As in the file's name. */
  readonly name: string;
  /** The runtime's package in npm, without its scope; deno.lock has its version and digest. */
  readonly runtime: string;
  readonly suffix: "" | ".exe";
  /** On Linux: compiles conf/release/loader.c, and where the libraries are that are carried inside, in the order they are looked for. */
  readonly linux?: {
    readonly compiler: string;
    readonly libraries: readonly string[];
    readonly packages: string;
  };
  /** What Debian calls its architecture, and container images do. */
  readonly debian?: string;
  readonly note: string;
}

export const TARGETS: readonly Target[] = [
  {
    name: "linux-x64",
    runtime: "bun-linux-x64",
    suffix: "",
    linux: {
      compiler: "x86_64-linux-gnu-gcc",
      libraries: ["/lib/x86_64-linux-gnu", "/lib64", "/usr/x86_64-linux-gnu/lib"],
      packages: "gcc libc6-dev",
    },
    debian: "amd64",
    note: "any distribution, with whichever C library, and none: kernel 4.18 or later",
  },
  {
    name: "linux-arm64",
    runtime: "bun-linux-aarch64",
    suffix: "",
    linux: {
      compiler: "aarch64-linux-gnu-gcc",
      libraries: ["/usr/aarch64-linux-gnu/lib", "/lib/aarch64-linux-gnu", "/lib"],
      packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    },
    debian: "arm64",
    note: "the same on 64-bit ARM",
  },
  { name: "darwin-x64", runtime: "bun-darwin-x64", suffix: "", note: "macOS 13 or later, Intel" },
  {
    name: "darwin-arm64",
    runtime: "bun-darwin-aarch64",
    suffix: "",
    note: "macOS 13 or later, Apple silicon",
  },
  { name: "windows-x64", runtime: "bun-windows-x64", suffix: ".exe", note: "Windows 10 1809 or later" },
];
