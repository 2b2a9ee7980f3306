"""Completion in bash and zsh where click's own scripts fall short. Imports no torch.

Bash takes "=" and ":" for ends of words; zsh puts a space behind "=".
"""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, CompletionItem, ZshComplete, split_arg_string

SCRIPT = """\
%(complete_func)s() {
    local IFS=$'\\n' type value current="${COMP_WORDS[COMP_CWORD]}"
    [[ $current == [=:] ]] && current=""
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o filenames; COMPREPLY+=($(compgen -d -- "$current")) ;;
            file) compopt -o filenames; COMPREPLY+=($(compgen -f -- "$current")) ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *= ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Reads the line as it stands, since bash splits its words at "=" and ":"; offers files beside names, and
    no space after `PATH=`."""

    source_template = SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before, and the one that is half typed."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        self._typed = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], self._typed

    def format_completion(self, item: CompletionItem) -> str:
        """The type and the part of the value that bash takes for the last word."""
        value = self._typed.partition("=")[2] if self._typed.startswith("-") else self._typed
        head = value[: max(value.rfind("="), value.rfind(":")) + 1]
        return f"{item.type},{str(item.value).removeprefix(head)}"


class Zsh(ZshComplete):
    """Puts no space after `PATH=`."""

    source_template = ZshComplete.source_template.replace(
        "compadd -U -V unsorted -a completions",
        "compadd -U -V unsorted -S '' -- ${(M)completions:#*=}\n"
        "        compadd -U -V unsorted -- ${completions:#*=}",
    )
