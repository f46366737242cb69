# SPDX-License-Identifier: MIT
# Cross compilers as Debian packages them, and qemu to run what they make. DEBIAN_MACHINE is aarch64 or s390x.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DEBIAN_MACHINE)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${DEBIAN_MACHINE})
set(CMAKE_C_COMPILER ${DEBIAN_MACHINE}-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER ${DEBIAN_MACHINE}-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${DEBIAN_MACHINE} -L /usr/${DEBIAN_MACHINE}-linux-gnu)
# What `./dev test` unpacks there: cmocka for that machine.
set(CMAKE_PREFIX_PATH ${CMAKE_CURRENT_LIST_DIR}/../build/packages-${DEBIAN_MACHINE}/usr)
