/** Scripts with which shells complete commands and flags. */
import type { Command, Flags } from "./command.ts";
import { UsageError } from "./exit.ts";

/** @throws {UsageError} */
export function completionFor(
  shell: string | undefined,
  commands: readonly Command[],
  common: Flags,
): string {
  const flagsOf = ({ flags = {} }: Command) =>
    Object.keys({ ...flags, ...common }).map((name) => `--${name}`).join(" ");
  const names = commands.map(({ name }) => name).join(" ");
  const cases = commands.map((command) => `    ${command.name}) words="${flagsOf(command)}" ;;`);
  switch (shell) {
    case "bash":
    case "zsh":
      return [
        ...(shell === "zsh" ? ["autoload -U +X bashcompinit && bashcompinit"] : []),
        "_nats_dyrygent() {",
        '  local words="" current="${COMP_WORDS[COMP_CWORD]}"',
        `  if [ "$COMP_CWORD" -eq 1 ]; then words="${names}"; else`,
        '  case "${COMP_WORDS[1]}" in',
        ...cases,
        "  esac; fi",
        '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _nats_dyrygent nats-dyrygent",
      ].join("\n");
    case "fish":
      return commands.flatMap((command) => [
        `complete -c nats-dyrygent -n __fish_use_subcommand -a ${command.name} -d '${
          command.summary.replaceAll("'", "’")
        }'`,
        ...Object.keys({ ...command.flags, ...common }).map((flag) =>
          `complete -c nats-dyrygent -n '__fish_seen_subcommand_from ${command.name}' -l ${flag}`
        ),
      ]).join("\n");
    default:
      throw new UsageError("Say which shell: bash, zsh or fish.");
  }
}
