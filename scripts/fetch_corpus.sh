#!/bin/bash
# The demo's text, out of Debian 12 packages: four sources of English of about 4 MB each, different
# enough to make shards that are not alike.
#
#   bible    the King James version, a chapter a document       (bible-kjv-text)
#   austen   six novels of Jane Austen                          (r-cran-janeaustenr)
#   perl     prose of Perl's manual, a page a document          (perl-doc)
#   python   prose of Python's manual, a page a document        (python3.11-doc)
#
# With --evidence a fifth, for models of a million parameters and more: 28 MB together.
#
#   essays   An Anarchist FAQ, a section a document             (anarchism)
#
# Packages are downloaded and unpacked in a temporary directory; nothing is installed and root is not
# needed. Markup and code blocks are left out, nothing else is changed. OUT_DIR gets a directory a
# source. The extracted text is pinned by its SHA-256 below; a point release of Debian that changes
# it is an error until --accept-new is said (whoever compares runs must compare equal digests).
#
# usage: fetch_corpus.sh OUT_DIR [--evidence] [--accept-new]
set -Eeuo pipefail
export LC_ALL=C

sources="bible austen perl python"
declare -rA packages=([bible]=bible-kjv-text [austen]=r-cran-janeaustenr [perl]=perl-doc
                      [python]=python3.11-doc [essays]=anarchism)
declare -rA pinned=(
  [bible]=157f1a97223f94c12a764eaf982cb9946f3a0ec07c7bb6857eb190ccd1c5b5ce
  [austen]=65b434d16a8755142bfa95ba19c5f9abd0d30cf3dffe3b6793e834f9f56dcc96
  [perl]=984a2eaf7ec37064c5165bcd8b7233ca5cf7089042ad9b139759612e91311c82
  [python]=78482420fa1b60afdd9049aac26315c3e4684671383764e3241285b505a9276a
  [essays]=e0ad9dd0a8d91c909caf9daacf6d54bcfd8e18aa06f6bbc45ebcb40f6be24fad
)

die() {
  echo "[corpus] $*" >&2
  exit 1
}

out="" accept_new=no
for argument in "$@"; do
  case "$argument" in
    --accept-new) accept_new=yes ;;
    --evidence) sources+=" essays" ;;
    -*) die "got $argument, want OUT_DIR [--evidence] [--accept-new]" ;;
    *) out="$argument" ;;
  esac
done
[[ -n "$out" ]] || die "got no directory, want OUT_DIR [--accept-new]"

# Of all files of a source in the order of their names.
digest() { (cd "$1" && find . -type f ! -name '.*' | sort | xargs cat | sha256sum | cut -d' ' -f1); }

# A source is cached when its stamp is there, written last, and its text still has that digest.
cached() {
  [[ -f "$out/$1/.sha256" ]] || return 1
  local have
  have=$(<"$out/$1/.sha256")
  [[ "$have" == "${pinned[$1]}" || "$accept_new" == yes ]] && [[ "$(digest "$out/$1")" == "$have" ]]
}

missing=""
for source in $sources; do cached "$source" || missing+=" $source"; done
[[ -n "$missing" ]] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "[corpus] failed in line $LINENO" >&2' ERR

# unpack PACKAGE: downloads it and unpacks it into $work/PACKAGE.
unpack() {
  (cd "$work" && apt-get download -q "$1" >"$1.log" 2>&1) ||
    die "cannot download package $1 ($(tail -n 1 "$work/$1.log")); want Debian 12 with package" \
      "lists: run apt-get update as root, and try again"
  dpkg-deb -x "$work/$1"_*.deb "$work/$1"
}

version() { dpkg-deb -f "$work/${packages[$1]}"_*.deb Version; }

# The text is compressed in a format of its own, which the package's program reads.
extract_bible() {
  unpack bible-kjv
  if ! ldd "$work/bible-kjv/usr/bin/bible" | grep -q 'libreadline.so.8 => /'; then
    unpack libreadline8
  fi
  local libraries
  libraries=$(find "$work" -name 'libreadline.so.8' -printf '%h\n')
  # A line "Book N", a blank line, then verses that begin with their numbers.
  LD_LIBRARY_PATH="$libraries" "$work/bible-kjv/usr/bin/bible" -l72 \
    -p "$work/bible-kjv-text/usr/lib" 'Gen1:1-Rev22:21' </dev/null |
    perl -e '
      my $n = 0;
      my $out;
      while (<STDIN>) {
        if (/^[A-Z0-9][A-Za-z0-9 ]* \d+$/) {
          open($out, ">", sprintf("%s/%04d.txt", $ARGV[0], ++$n)) or die "$!\n";
        }
        s/^ +\d+ //;
        print $out $_ if $out;
      }' "$1"
}

# R keeps each novel as a zlib stream (behind four bytes of length) that holds a serialised vector of
# lines; an index says where the streams are. gzip reads zlib when its two bytes of header are taken
# for the last two of a gzip header; it then misses a checksum, after the text.
extract_austen() {
  local data=$work/r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data
  local offset size name
  gzip -dc <"$data/Rdata.rdx" | perl -0777 -ne '
    my @places;
    push @places, [unpack("NN", $1)] while /\x00\x00\x00\x0d\x00\x00\x00\x02(.{8})/sg;
    my ($list) = /names\x00\x00\x00\x10.{4}(.*)/s;
    for my $place (@places) {
      my ($length) = unpack("x4 N", $list);
      print "$place->[0] $place->[1] ", substr($list, 8, $length), "\n";
      $list = substr($list, 8 + $length);
    }' | while read -r offset size name; do
    (printf '\x1f\x8b\x08\0\0\0\0\0' && dd if="$data/Rdata.rdb" status=none \
      iflag=skip_bytes,count_bytes skip="$((offset + 4))" count="$((size - 4))" bs=64K) | (gzip -dc 2>/dev/null || true) | perl -0777 -ne '
        my $at = 23;  # behind format, versions and encoding
        my ($kind, $lines) = unpack("x$at N N", $_);
        die "not a vector of lines\n" unless $kind == 16;
        for ($at += 8; $lines > 0; --$lines) {
          my $length = unpack("x" . ($at + 4) . " N", $_);
          print substr($_, $at + 8, $length), "\n";
          $at += 8 + $length;
        }' >"$1/$name.txt"
  done
}

# Pod: paragraphs; verbatim ones (code) begin with a space. Lists of names without prose stay out.
extract_perl() {
  local page
  for page in "$work"/perl-doc/usr/share/perl/*/pod/*.pod; do
    case "${page##*/}" in
      perltoc.pod | perluniprops.pod | perlapi.pod | perlintern.pod | perlmodlib.pod) continue ;;
      perl500*delta.pod | perl5[6-8]*delta.pod) continue ;;  # brings the source to the others' size
    esac
    perl -00 -ne '
      if (/^=encoding\s+(\S+)/) { next }
      if (/^=begin/ .. /^=end/) { next }
      next if /^\s/ || /^=(cut|pod|over|back|for)\b/;
      s/^=(head\d|item)\s*//;
      s/^\*\s*$//;
      s/X<[^<>]*>//g;
      s/E<lt>/\x01/g; s/E<gt>/\x02/g; s/E<sol>/\//g; s/E<verbar>/|/g;
      1 while s/[A-Z]<<+ (.*?) >>+/$1/gs;
      1 while s/L<([^<>|]*)\|[^<>]*>/$1/g || s/[BCFILSZ]<([^<>]*)>/$1/g;
      tr/\x01\x02/<>/;
      s/\s+\z//;
      print "$_\n\n" if /\S/;' "$page" >"$work/page"
    # A few old pages are Latin-1.
    local target=$1/${page##*/}
    iconv -f UTF-8 -t UTF-8 "$work/page" >"${target%.pod}.txt" 2>/dev/null ||
      iconv -f ISO-8859-1 -t UTF-8 "$work/page" >"${target%.pod}.txt"
  done
}

# reStructuredText: directives lose their first line and options, code blocks are dropped, roles and
# backquotes give way to their text. Pages that security updates like to touch stay out.
extract_python() {
  local top=$work/python3.11-doc/usr/share/doc/python3.11/html/_sources page
  (cd "$top" && find tutorial howto faq reference extending library -name '*.rst.txt') | sort |
    grep -vE '^library/(asyncio|ssl|urllib|http|email|tarfile|zipfile|xml|socket|html|ipaddress|hash|random|os\.rst|shutil|subprocess|tempfile)' |
    while read -r page; do
      perl -e '
        my $skip = -1;    # indentation of a block whose contents are dropped
        my $options = 0;  # directly behind a directive
        my $blank = 1;
        while (<STDIN>) {
          s/\s+$//;
          my ($indent) = /^( *)/;
          my $depth = length $indent;
          if ($_ eq "") { $options = 0; print "\n" unless $blank; $blank = 1; next }
          if ($skip >= 0) { next if $depth > $skip; $skip = -1 }
          if ($options && /^\s+:[\w-]+:/) { next }
          if (/^\s*(>>>|\.\.\. )/) { next }
          if (/^\s*[-=~^*"\x27#+.`|<>\/ ]+$/ || /^\s*\+[-=+]+\+/) { next }
          if (/^\s*\.\. +(code-block|code|doctest|testcode|testoutput|testsetup|productionlist|literalinclude|highlight|index|toctree|image|figure|sectionauthor|moduleauthor|module|currentmodule|rubric|only|_[^:]*:|csv-table|list-table|table|\[|\|)/
              || /^\s*\.\.$/ || /^\s*\.\. +[^:]*$/) { $skip = $depth; next }
          if (/^\s*\.\. +(function|method|class|data|attribute|exception|describe|opcode|option|cmdoption|decorator|classmethod|staticmethod|coroutinefunction|coroutinemethod|awaitablefunction|c:\w+|envvar|pdbcommand|module|program|2to3fixer|abstractmethod|index)::/) { $options = 1; next }
          if (s/^(\s*)\.\. +[\w-]+:: *//) { $options = 1; my $rest = $_; next if $rest eq ""; $_ = "$indent$rest" }
          my $code = s/\s*::$/:/;
          s/:[\w:+-]+:`([^`<]*?)\s*<[^`>]*>`/$1/g;
          s/:[\w:+-]+:`[~!]?([^`]*)`/$1/g;
          s/``([^`]*)``/$1/g;
          s/`([^`<]*?)\s*<[^`>]*>`_{0,2}/$1/g;
          s/\*\*([^*]*)\*\*/$1/g;
          s/^ {4,}/   /;
          print "$_\n" if /\S/;
          $blank = 0;
          $skip = $depth if $code;
        }' <"$top/$page" >"$1/$(tr / - <<<"${page%.rst.txt}").txt"
    done
}

# HTML whose paragraphs may run over many lines: tags go, blocks become paragraphs. The tables of contents
# and the bibliography are lists without prose.
extract_essays() {
  local page
  for page in "$work"/anarchism/usr/share/doc/anarchism/html/*.html; do
    case "${page##*/}" in
      biblio.html | *links.html | *con.html | index.html | new.html) continue ;;
    esac
    perl -0777 -ne '
      s/.*<body[^>]*>//s;
      s/\s+/ /g;
      s/<(p|br|h\d|li|tr|div|blockquote|ul|ol)\b[^>]*>/\n\n/gi;
      s/<[^>]*>//g;
      s/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&nbsp;/ /g; s/&amp;/&/g;
      s/[ \t]*\n[ \t]*/\n/g;
      s/ {2,}/ /g;
      s/\n{3,}/\n\n/g;
      s/^\s+//;
      s/\s+\z/\n/;
      print;' "$page" >"$work/page"
    # A few old pages are Latin-1.
    local target=$1/${page##*/}
    iconv -f UTF-8 -t UTF-8 "$work/page" >"${target%.html}.txt" 2>/dev/null ||
      iconv -f ISO-8859-1 -t UTF-8 "$work/page" >"${target%.html}.txt"
  done
}

mkdir -p "$out"
for source in $missing; do
  unpack "${packages[$source]}"
  rm -rf "${out:?}/$source" "$out/$source.partial" "$work/text"
  mkdir "$work/text"
  "extract_$source" "$work/text"
  find "$work/text" -type f -size -200c -delete  # pages without prose
  have=$(digest "$work/text")
  if [[ "$have" != "${pinned[$source]}" ]]; then
    if [[ "$accept_new" != yes ]]; then
      die "$source: got text $have from ${packages[$source]} $(version "$source"), want" \
        "${pinned[$source]}; --accept-new takes it as it is (figures then differ from the pinned text's)"
    fi
    echo "[corpus] $source: accepted new text $have"
  fi
  cp -r "$work/text" "$out/$source.partial"
  echo "$have" >"$out/$source.partial/.sha256"
  mv "$out/$source.partial" "$out/$source"
  echo "[corpus] $source: $(cat "$out/$source"/*.txt | wc -c) bytes in" \
    "$(find "$out/$source" -name '*.txt' | wc -l) documents, from ${packages[$source]} $(version "$source")"
done
