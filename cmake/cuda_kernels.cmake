# SPDX-License-Identifier: MIT
# The kernels of the CUDA backend, as far as they stand on their own: a target `cuda_kernels` compiles them and fails if
# the compiler spills registers where src/kernels/cuda/spills.txt does not say so. TURBOQUANT_CUDA is AUTO (if nvcc is
# found), ON or OFF; TURBOQUANT_CUDA_ARCHS and TURBOQUANT_CUDA_DIMS bound what is compiled.
set(TURBOQUANT_CUDA AUTO CACHE STRING "Compile the CUDA kernels: AUTO, ON or OFF")
set(TURBOQUANT_CUDA_ARCHS 90 CACHE STRING "Architectures: 80;86;89;90;100;120 are meant to work")
set(TURBOQUANT_CUDA_DIMS 128 CACHE STRING "Head dims: some of 64;80;96;112;128;192;256")
if(TURBOQUANT_CUDA)
    find_program(TURBOQUANT_NVCC nvcc HINTS /usr/local/cuda/bin)
    if(NOT TURBOQUANT_NVCC AND NOT TURBOQUANT_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "TURBOQUANT_CUDA is ${TURBOQUANT_CUDA}, but nvcc was not found")
    endif()
endif()
if(TURBOQUANT_CUDA AND TURBOQUANT_NVCC)
    # Not part of `all`: it takes minutes.
    add_custom_target(cuda_kernels
        COMMAND ${CMAKE_COMMAND} -E env "NVCC=${TURBOQUANT_NVCC}"
                ${PROJECT_SOURCE_DIR}/tools/check_cuda_kernels.sh ${PROJECT_BINARY_DIR}/cuda
                "${TURBOQUANT_CUDA_ARCHS}" "${TURBOQUANT_CUDA_DIMS}"
        VERBATIM)
endif()
