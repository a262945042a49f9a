#!/bin/sh
# docs/messages.md has every message that orchestra writes to the log, raises, or shows as a problem
# or as the reason of an event, and none that is gone. Usage: messages.sh SOURCE_TREE
#
# A message is a string literal of three words or more that is no full sentence: by PostgreSQL's
# style those (capital letter, full stop) are details, hints and descriptions. What stands for a
# value splits it: % and the end of a literal in the sources, … on the page, whose tables quote
# messages in backquotes in their first column. What is shorter, or a sentence, may be on the page,
# and must then be in the sources. Not messages: the rows of orchestra_check(), and the rule table,
# which expected/ has.
set -u
export LC_ALL=C # one order for sort and comm
cd "$1" || exit 1

not_messages='dialer to acceptor|acceptor to dialer|orchestra end of WAL|c search_path=.*'

# Prints the parts of the literals below $1 that have $2 words at least; $3 = all: of sentences too.
literals() {
  find "$1/src/core" "$1/src/net" "$1/src/pg" -name '*.h' -o -name '*.cpp' |
    sort | words="$2" which="$3" perl -ne '
    use strict; use warnings;
    chomp;
    next if $ENV{which} ne "all" && m{/src/core/(?:preflight\w*|analysis)\.cpp$};
    open my $file, "<", $_ or die "$_: $!\n";
    my $text = do { local $/; <$file> };
    $text =~ s/^\s*#\s*(?:include|error).*$|static_assert\([^;]*;//mg;
    my (@literals, $open);
    while ($text =~ m{\G(?: (//[^\n]*|/\*.*?\*/|\s+) | "((?:[^"\\\n]|\\.)*)"
                       | (?:\x27(?:[^\x27\\]|\\.)*\x27|R"\(.*?\)"|.) )}gcxs) {
      next if defined $1;
      if (defined $2) { push @literals, "" if !$open; $literals[-1] .= $2; $open = 1 }
      else { $open = 0 }
    }
    for my $literal (@literals) {
      next if $ENV{which} ne "all" && $literal =~ /^\s*(?:[A-Z][a-z ]|SELECT\b)|\.\s*$/;
      $literal =~ s/\\(["\\])/$1/g;
      for my $part (split /%[-0-9.*]*(?:zu|ll[ud]|l[ud]|[a-zA-Z])|\\n/, $literal) {
        $part =~ s/^[^a-zA-Z0-9]+|[^a-zA-Z0-9)*]+$//g;
        print "$part\n" if (grep { /[a-zA-Z]/ } split / +/, $part) >= $ENV{words};
      }
    }' | grep -vxE "$not_messages" | sort -u
}

# Prints the parts of the messages on page $1 that have from $2 to $3 words.
documented() {
  min="$2" max="$3" perl -CSD -Mutf8 -ne '
    use strict; use warnings;
    next unless /^\| ?(`.*?`) +\|/;
    for my $text ($1 =~ /`([^`]+)`/g) {
      for my $part (split /…/, $text) {
        $part =~ s/^[^a-zA-Z0-9]+|[^a-zA-Z0-9)*]+$//g;
        my $words = grep { /[a-zA-Z]/ } split / +/, $part;
        print "$part\n" if $words >= $ENV{min} && $words <= $ENV{max};
      }
    }' "$1" | sort -u
}

# What is wrong with page $1 for the sources below $2, one a line.
faults() {
  literals "$2" 3 messages >"$scratch/messages"
  literals "$2" 1 all >"$scratch/literals"
  documented "$1" 3 1000 >"$scratch/on_page"
  comm -23 "$scratch/messages" "$scratch/on_page" | sed 's/^/not on the page: /'
  comm -13 "$scratch/literals" "$scratch/on_page" | sed 's/^/not in the sources: /'
  documented "$1" 1 2 | while read -r part; do
    grep -qF -- "$part" "$scratch/literals" || echo "not in the sources: $part"
  done
}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failed=0
expect_fault() { # what
  if ! faults "$scratch/page.md" "$scratch" | grep -qF "$1"; then
    echo "this was not noticed: $1"
    failed=1
  fi
}

# shellcheck disable=SC2016 # backquotes of Markdown
page() { printf '| `%s` | x |\n' "$@" >"$scratch/page.md"; }

# Checks itself first.
mkdir -p "$scratch/src/core" "$scratch/src/net" "$scratch/src/pg"
cat >"$scratch/src/pg/planted.cpp" <<'END'
// "a comment is no message"
throw Fail(kCode, "the door \"" + name + "\" is locked for "
           "ever", "The key is inside.");
ereport(LOG, (errmsg("orchestra: %d keys are in the lock", n)));
END
page 'the door "…" is locked for ever'
expect_fault 'not on the page: keys are in the lock'
page 'orchestra: … keys are in the lock' 'the door "…" is locked' 'a window is open' \
  'nobody: …'
expect_fault 'not on the page: is locked for ever'
expect_fault 'not in the sources: a window is open'
expect_fault 'not in the sources: nobody'
page 'orchestra: … keys are in the lock' 'the door "…" is locked for ever' 'The key is inside.'
if [ -n "$(faults "$scratch/page.md" "$scratch")" ]; then
  echo "found wrong: $(faults "$scratch/page.md" "$scratch")"
  failed=1
fi
if [ "$(literals . 3 messages | grep -c .)" -lt 100 ]; then
  echo "this test has lost the messages of the sources"
  failed=1
fi

# Single words: findings and events.
names() {
  sed -n '/^const char\* NameOf(FindingCode/,/^}/p' src/core/analysis.cpp
  sed -n '/^const char\* NoteName/,/^}/p' src/core/*.cpp
}
names | sed -nE 's/.*return "([A-Za-z_]+)";.*/\1/p' | grep -vixE 'unknown|NoProblem' |
  sort -u >"$scratch/names"
if [ "$(grep -c . "$scratch/names")" -lt 30 ]; then
  echo "this test has lost the names of findings and events"
  failed=1
fi

faults docs/messages.md . >"$scratch/faults"
while read -r name; do
  grep -q "^| .*\`$name\`" docs/messages.md || echo "no row for: $name" >>"$scratch/faults"
done <"$scratch/names"
if [ -s "$scratch/faults" ]; then
  sed 's|^|docs/messages.md: |' "$scratch/faults"
  failed=1
fi
exit $failed
