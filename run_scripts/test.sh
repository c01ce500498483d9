#!/usr/bin/env bash
# One-click acceptance: 100 training iterations at batch 4 on whatever device is here, and the comparison with the
# committed log of the same command and data.
#
#   bash test.sh [--data_path=DIR] [--device=auto|sdaa|cuda|cpu]
#
# Without --data_path: PETA in its place ($ALM_DATA_ROOT, or else the default), or, if that is missing, the synthetic
# data set.
set -euo pipefail
here=$(dirname "$0")

fail() {
    echo "error: $2" >&2
    exit "$1"
}

python=${PYTHON:-python3}
data_path=
device=auto
for argument in "$@"; do
    value=${argument#*=}
    case $argument in
        --data_path=* | --data-path=*)
            [ -d "$value" ] || fail 2 "$argument: there is no such directory"
            data_path=$value
            ;;
        --device=auto | --device=sdaa | --device=cuda | --device=cpu) device=$value ;;
        --help | -h)
            sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        --device=*) fail 2 "$argument: choose auto, sdaa, cuda or cpu" ;;
        *) fail 2 "unknown option $argument; there are --data_path=DIR and --device=NAME" ;;
    esac
done

for place in "$here" "$here/../runs"; do
    [ -e "$place" ] || place=$here/..
    [ -d "$place" ] && [ -w "$place" ] || fail 1 "$place cannot be written to, and logs would go there; copy the checkout"
done
[ "$("$python" -c 'print(6 * 7)' 2> /dev/null)" = 42 ] ||
    fail 1 "$python runs no Python; name an interpreter, as in PYTHON=python bash test.sh"
"$python" "$here/acceptance.py" install
device=$("$python" "$here/acceptance.py" device "$device")

experiment=peta
baseline=
options=()
if [ -n "$data_path" ]; then
    options=(--data_root "$data_path")
elif ! "$python" "$here/acceptance.py" has-data peta; then
    echo "********************************************************************************"
    echo "*** PETA is not in its place: this run uses the SYNTHETIC data set.          ***"
    echo "*** Its losses say nothing of PETA. With PETA: bash test.sh --data_path=DIR  ***"
    echo "********************************************************************************"
    experiment=synthetic
    baseline=$here/baseline/synthetic.log
fi

log=$here/$device.log
trap 'rm -f "$log.new"' EXIT  # of a run that failed
"$python" "$here/run_ALM.py" --approach inception_iccv --experiment "$experiment" ${options[@]+"${options[@]}"} \
    --device "$device" --epochs 1 --batch_size 4 --lr 1e-4 --max_iters 100 --amp off 2>&1 | tee "$log.new"
mv --backup=numbered "$log.new" "$log"  # an earlier log stays, as LOG.~1~

if [ -z "$baseline" ]; then
    echo "no verdict: there is no committed log of this data; compare with another device's:"
    echo "$python $here/loss.py --sdaa-log $log --cuda-log OTHER.log"
    exit 2
fi
verdict=0
"$python" "$here/loss.py" --sdaa-log "$log" --cuda-log "$baseline" || verdict=$?
if [ "$verdict" -eq 1 ] && ! "$python" "$here/acceptance.py" same-pictures; then
    echo "no verdict: the drawn pictures differ from the baseline's (another encoder or decoder version), and the"
    echo "losses may differ for that reason alone; compare with the log of a device that has the same versions"
    exit 2
fi
if [ "$verdict" -eq 1 ]; then
    echo "Which operator is it? On this machine:"
    echo "    $python $here/locate.py --device $device --amp off"
    echo "Where do two machines part? On each, the command above with --fingerprint FILE, and then"
    echo "    $python $here/locate.py --compare OTHER.jsonl THIS.jsonl --plot where.png"
fi
exit "$verdict"
