#!/usr/bin/env bash
# The table of attacks in SECURITY.md, made from the results that run_attacks.sh keeps.
#
#   write_table.sh           writes the table between the two marks of SECURITY.md
#   write_table.sh --check   says whether the table there is the one that the results make
#
# CMKD_ATTACKS: the program (for what each case tries). CMKD_ATTACK_RUNS: where the results are.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${CMKD_BUILD_DIR:-.}
attacks=${CMKD_ATTACKS:-$build/test-bin/attacks}
runs=${CMKD_ATTACK_RUNS:-$build/attacks}
document=$here/../../SECURITY.md
columns=(managed.software managed.softhsm2 general.software general.softhsm2 plain.softhsm2)
begin='<!-- attacks: begin (tests/attacks/write_table.sh) -->'
end='<!-- attacks: end -->'

for column in "${columns[@]}"; do
  [ -f "$runs/$column" ] || { echo "missing: result of $column in $runs"; exit 1; }
done

# of COLUMN CASE FIELD: one field of a result line.
of() { awk -F '\t' -v id="$2" -v field="$3" '$1 == id { print $field }' "$runs/$1"; }

table() {
  echo "$begin"
  echo '| case | the attacker | managed | managed, SoftHSMv2 | general | general, SoftHSMv2 | plain SoftHSMv2 |'
  echo '|---|---|---|---|---|---|---|'
  "$attacks" --list | while IFS=$'\t' read -r id what; do
    row="| $id | $what |"
    for column in "${columns[@]}"; do
      outcome=$(of "$column" "$id" 2)
      [ "$outcome" = broken ] && outcome='**broken**'
      row+=" ${outcome:-missing} |"
    done
    echo "$row"
  done
  echo
  for column in "${columns[@]}"; do
    "$attacks" --list | while IFS=$'\t' read -r id what; do
      [ "$(of "$column" "$id" 2)" = n/a ] && echo "- $id does not apply to ${column/./, }: $(of "$column" "$id" 3)."
    done
  done
  echo "$end"
}

new=$(mktemp "${TMPDIR:-/tmp}/attacks-table.XXXXXX")
trap 'rm -f "$new" "$new.doc"' EXIT
table >"$new"
if [ "${1:-}" = --check ]; then
  if sed -n "\|^$begin\$|,\|^$end\$|p" "$document" | diff - "$new"; then echo "the table agrees"; exit 0; fi
  echo "SECURITY.md does not agree with the run; tests/attacks/write_table.sh writes it anew"
  exit 1
fi
awk -v begin="$begin" -v end="$end" -v table="$new" '
  $0 == begin { while ((getline line < table) > 0) print line; skipping = 1 }
  !skipping { print }
  $0 == end { skipping = 0 }' "$document" >"$new.doc" && cat "$new.doc" >"$document"
