"""What each shell runs when Tab is pressed, and in which form it is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

ASK = "__complete"
"""The hidden command that a shell runs."""


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


FILES = ":files"
"""The line that answers with whatever files there are."""

_BREAKS = " \t\n\"'@><=;|&(:"  # bash's own COMP_WORDBREAKS

_BASH = r"""
_promoter() {
    local IFS=$'\n' line
    COMPREPLY=()
    local program=${1/#\~/$HOME} typed=${COMP_LINE:0:$COMP_POINT}
    for line in $(COMP_WORDBREAKS="$COMP_WORDBREAKS" "$program" __complete bash "$typed" 2>/dev/null); do
        if [ "$line" = :files ]; then
            compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$2"))
        else
            COMPREPLY+=("$line")
        fi
    done
}
complete -F _promoter promoter
"""

_ZSH = r"""#compdef promoter
_promoter() {
    local -a values descriptions
    local line
    for line in "${(@f)$(${words[1]} __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        elif [[ -n $line ]]; then
            values+=("${line%%$'\t'*}")
            descriptions+=("${line/$'\t'/  }")
        fi
    done
    compadd -l -d descriptions -a values
}
if [ "$funcstack[1]" = _promoter ]; then
    _promoter "$@"
else
    compdef _promoter promoter
fi
"""

_FISH = r"""
function __promoter_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] "$current" 2>/dev/null)
    if contains -- :files $lines
        __fish_complete_path "$current"
    else
        printf '%s\n' $lines
    end
end
complete --command promoter --no-files --arguments '(__promoter_complete)'
"""

_POWERSHELL = r"""
Register-ArgumentCompleter -Native -CommandName promoter -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.Extent.Text })
    & $commandAst.GetCommandName() __complete powershell @before "cursor:$wordToComplete" 2>$null | ForEach-Object {
        $value, $meaning = $_ -split "`t", 2
        if ($value -and $value -ne ':files') {
            $shown = if ($meaning) { $meaning } else { $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $shown)
        }
    }
}
"""

SCRIPTS: Mapping[Shell, str] = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH, Shell.POWERSHELL: _POWERSHELL}


def typed(shell: str, words: Sequence[str], environ: Mapping[str, str]) -> tuple[list[str], str, str]:
    """The words before the cursor without the program's, the one at it, and as much of it as the answer must not repeat.

    bash hands over the line: it breaks words at `:` and `=`, and before `@`, and replaces the last.
    """
    if shell != Shell.BASH:
        *before, current = words or [""]
        return before, current.removeprefix("cursor:") if shell == Shell.POWERSHELL else current, ""
    found = _split(words[0])
    current = found.pop() if found else ""
    breaks = environ.get("COMP_WORDBREAKS") or _BREAKS
    ends = (current.rfind(sign) + (sign != "@") for sign in breaks if sign in "@:=" and sign in current)
    return found[1:], current, current[: max(ends, default=0)]


def lines(shell: str, kind: str, offers: Sequence[tuple[str, str]], replaced: str) -> Iterator[str]:
    """The answer, a line for each word."""
    if kind in {"file", "folder"}:
        yield FILES
    for word, meaning in offers:
        text = " ".join(meaning.split())
        if shell == Shell.BASH:
            yield word.removeprefix(replaced)
        else:
            yield f"{word}\t{text}" if text else word


def _split(line: str) -> list[str]:
    """The words of a line that may end in the middle of one; the last is empty behind a blank."""
    words = [part.replace("\\", "") for part in re.findall(r"""(?:"[^"]*"?|'[^']*'?|\\.|[^\s"'\\])+""", line)]
    words = [re.sub("[\"']", "", word) for word in words]
    return [*words, ""] if not line or line[-1].isspace() else words
