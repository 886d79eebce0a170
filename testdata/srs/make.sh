#!/bin/sh
# Makes the three .ptau files with snarkjs (npm, 0.7.6) in a scratch directory, and copies them here.
# The ceremony is a toy of one contribution, made on the machine of whoever ran this: for tests only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund snarkjs@0.7.6 >/dev/null
snarkjs=node_modules/.bin/snarkjs
"$snarkjs" powersoftau new bn128 7 new.ptau
"$snarkjs" powersoftau contribute new.ptau powers7.ptau --name="cairn testdata" -e="cairn testdata, not secret"
"$snarkjs" powersoftau prepare phase2 powers7.ptau powers7_prepared.ptau
"$snarkjs" powersoftau verify powers7_prepared.ptau
cp new.ptau "$here/powers7_no_contribution.ptau"
cp powers7.ptau powers7_prepared.ptau "$here/"
