/* SPDX-License-Identifier: MIT
 *
 * Loading the CUDA driver. */
#include "cuda/driver.h"

#include <dlfcn.h>
#include <string.h>

/* An object pointer as a function pointer, as POSIX wants it. */
static bool find(void *library, const char *symbol, void *function)
{
    void *address = dlsym(library, symbol);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

bool tq_cuda_driver_open(tq_cuda_driver *driver)
{
    memset(driver, 0, sizeof *driver);
    driver->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    bool ok = driver->library != NULL;
#define X(name, symbol, arguments) ok = ok && find(driver->library, #symbol, &driver->name);
#include "cuda/driver.def"
#undef X
    ok = ok && driver->init(0) == 0;
    if (!ok) {
        tq_cuda_driver_close(driver);
    }
    return ok;
}

void tq_cuda_driver_close(tq_cuda_driver *driver)
{
    if (driver->library != NULL) {
        dlclose(driver->library);
    }
    driver->library = NULL;
}
