/** `ringmaster completions SHELL`: what a shell can complete, made from the tables of the command line. */
import { type Command, COMMANDS, type Flag, type Shell } from "./flags.ts";

/** The script that the shell is to source. */
export function completions(shell: Shell): string {
  return { bash, zsh, fish }[shell]();
}

/** What comes after a flag, or stands alone. */
type Values = "files" | readonly string[] | null;

/** From what the flag says of its value, so that it is said once. */
function valuesOf({ requires }: Flag): Values {
  if (requires === "a file name") return "files";
  return /^[a-z]+( or [a-z]+)+$/.test(requires) ? requires.split(" or ") : null;
}

const PROXY: Command = COMMANDS.find(({ name }) => name === "")!;
const OTHERS: readonly Command[] = COMMANDS.filter(({ name }) => name !== "");

const spellings = ({ short, long }: Flag): string[] => [...short === "" ? [] : [`-${short}`], `--${long}`];

// ---- bash

function bash(): string {
  return `# bash completion of ringmaster
_ringmaster() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command=
  COMPREPLY=()
  case \${COMP_WORDS[1]} in
    ${OTHERS.map(({ name }) => name).join("|")}) ((COMP_CWORD > 1)) && command=\${COMP_WORDS[1]} ;;
  esac
  # --flag=value comes as three words.
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  case "$command $before" in
${COMMANDS.flatMap(bashValues).join("")}  esac
  case $command in
${COMMANDS.map(bashWords).join("")}  esac
}
complete -F _ringmaster ringmaster
`;
}

function bashValues({ name, flags }: Command): string[] {
  return flags.filter(({ value }) => value !== "").map((flag) => {
    const cases = spellings(flag).map((spelling) => `"${name} ${spelling}"`).join("|");
    return `    ${cases}) ${bashReply(valuesOf(flag))} return ;;\n`;
  });
}

function bashWords({ name, flags, words }: Command): string {
  const own = name === "" ? OTHERS.map((each) => each.name) : [];
  const given = flags.flatMap(spellings);
  const of = (list: readonly string[]) => `COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$word"));`;
  const others = name === "" ? `((COMP_CWORD == 1)) && ${of(own)}` : bashReply(words ?? null);
  return `    "${name}") if [[ $word == -* ]]; then ${of(given)} else ${others} fi ;;\n`;
}

function bashReply(values: Values): string {
  if (values === null) return ":;";
  if (values === "files") return 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"));';
  return `COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$word"));`;
}

// ---- zsh

function zsh(): string {
  return `#compdef ringmaster
_ringmaster() {
  local -a commands
  commands=(
${
    OTHERS.map(({ name, sentence }) => `    ${quote(`${name}:${sentence.replaceAll(":", "\\:")}`)}\n`).join(
      "",
    )
  }  )
  if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
    _describe command commands
    return
  fi
  case $words[2] in
${
    OTHERS.map((command) =>
      `    ${command.name}) shift words; ((CURRENT--)); _arguments -s ${zshArguments(command)} ;;\n`
    ).join("")
  }    *) _arguments -s ${zshArguments(PROXY)} ;;
  esac
}
_ringmaster "$@"
`;
}

function zshArguments({ flags, words }: Command): string {
  const specs = flags.flatMap((flag) => {
    const about = `[${flag.sentence.replace(/[[\]\\]/g, "\\$&")}]`;
    const value = flag.value === "" ? "" : `:${flag.long}:${zshValues(valuesOf(flag))}`;
    const long = `--${flag.long}${flag.value === "" ? "" : "="}${about}${value}`;
    if (flag.short === "") return [quote(long)];
    const both = `(-${flag.short} --${flag.long})`;
    return [
      quote(`${both}-${flag.short}${flag.value === "" ? "" : "+"}${about}${value}`),
      quote(both + long),
    ];
  });
  const rest = words === undefined ? [] : [quote(`*:word:${zshValues(words)}`)];
  return [...specs, ...rest].join(" ");
}

function zshValues(values: Values): string {
  return values === null ? " " : values === "files" ? "_files" : `(${values.join(" ")})`;
}

// ---- fish

function fish(): string {
  const names = OTHERS.map(({ name }) => name).join(" ");
  const lines = ["# fish completion of ringmaster", "complete -c ringmaster -f"];
  for (const command of COMMANDS) {
    const here = command.name === ""
      ? `not __fish_seen_subcommand_from ${names}`
      : `__fish_seen_subcommand_from ${command.name}`;
    const condition = `-n ${quote(here)}`;
    if (command.name !== "") {
      const alone = quote(`test (count (commandline -opc)) -eq 1`);
      lines.push(`complete -c ringmaster -n ${alone} -a ${command.name} -d ${quote(command.sentence)}`);
    }
    for (const flag of command.flags) {
      const short = flag.short === "" ? "" : ` -s ${flag.short}`;
      const value = flag.value === "" ? "" : `${fishValues(valuesOf(flag))}`;
      lines.push(
        `complete -c ringmaster ${condition}${short} -l ${flag.long}${value} -d ${quote(flag.sentence)}`,
      );
    }
    const { words } = command;
    if (words === "files") lines.push(`complete -c ringmaster ${condition} -F`);
    else if (words !== undefined) {
      lines.push(`complete -c ringmaster ${condition} -a ${quote(words.join(" "))}`);
    }
  }
  return lines.join("\n") + "\n";
}

function fishValues(values: Values): string {
  return values === null ? " -x" : values === "files" ? " -r -F" : ` -x -a ${quote(values.join(" "))}`;
}

/** One word of a shell. Of fish too: nothing here has a backslash before a quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
