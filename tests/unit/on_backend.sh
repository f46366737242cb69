#!/bin/sh
# SPDX-License-Identifier: MIT
# on_backend.sh TEST_KERNELS BACKEND COMMAND...: runs the command; exits 77 if this machine cannot run the backend.
# EMULATOR in the environment, if any, runs both programs.
# shellcheck disable=SC2086 # a program and its arguments
$EMULATOR "$1" --list --backend "$2" || exit
shift 2
exec $EMULATOR "$@"
