#!/bin/sh
# Measures Viaduct on a GPU against the usual alternatives. Writes ${OUT:-.}/gpu.json, which is valid after each part.
#
#   benchmarks/gpu.sh [--all] [--only "training mining"] [--device cuda|cpu] [--tiny]
#
# The default, the most informative part, takes under 4 minutes; --all runs everything, --tiny only
# tests the script, at meaningless sizes.
# Exits with 1 if a part failed: the file has the others. PYTHON names the interpreter.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-.} python=${PYTHON:-python3} device=cuda size=quick only="training inference mining captioning"
while [ $# -gt 0 ]; do
    case $1 in
    --all | --tiny) size=${1#--} ;;
    --only | --device)
        [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
        if [ "$1" = --only ]; then only=$2; else device=$2; fi
        shift ;;
    *) echo "unknown option '$1'; there are --all, --only, --device and --tiny" >&2; exit 2 ;;
    esac
    shift
done
export PYTHONPATH="$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out" || exit 2
parts=$(mktemp -d) || exit 2
child=
trap 'rm -rf "$parts"' EXIT
trap '[ -z "$child" ] || kill "$child"; exit 143' HUP INT TERM # otherwise the benchmark would keep the GPU
status=0

part() { # NAME SECONDS OPTIONS...: run one benchmark, and add it to the file
    name=$1 seconds=$2
    shift 2
    case " $only " in *" $name "*) ;; *) return 0 ;; esac
    timeout "$seconds" "$python" "$here/$name.py" --device "$device" "$@" >"$parts/$name.out" &
    child=$!
    wait "$child" || {
        echo "$name did not end well (status $?, $seconds s at most)" >&2
        status=1
    }
    sed '$d' "$parts/$name.out"
    tail -n 1 "$parts/$name.out" >"$parts/$name.json"
    "$python" - "$parts" "$out/gpu.json" "$size" <<'PYTHON' || status=1
import contextlib, json, os, pathlib, sys
parts, target, size = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
found = {}
for path in sorted(parts.glob("*.json")):
    with contextlib.suppress(ValueError):
        found[path.stem] = json.loads(path.read_text())
unfinished = target.with_suffix(".unfinished")
unfinished.write_text(json.dumps({"size": size, "devices": sorted({one["device"] for one in found.values()}), **found}, indent=1))
os.replace(unfinished, target)
PYTHON
}

case $size in
quick)
    part training 120 --quick --works pairs
    part inference 70 --quick --shapes 12x768 --repetitions 1
    part mining 45 --quick --kinds sentences --repetitions 1 ;;
tiny)
    part training 600 --works pairs --shapes 2x32 --scale 1 --steps 2 --repetitions 1
    part inference 600 --quick --shapes 2x32 --rows 16 --repetitions 1 --train-seconds 0
    part captioning 600 --quick --shapes 2x32 --objectives mlm_caption --steps 1 --batch-tokens 200
    part mining 600 --sentences 200 --width 16 --kinds sentences ;;
all)
    part training 3600
    part inference 3600
    part captioning 3600
    part mining 3600 ;;
esac
[ -f "$out/gpu.json" ] && echo "$out/gpu.json"
exit $status
