/* SPDX-License-Identifier: MIT
 *
 * See device_memory.h. */
#include "device_memory.h"

#include "cuda/driver.h"
#include "support.h"

static tq_cuda_driver driver;

int device_begin(void)
{
    int device = 0;
    int count = 0;
    void *primary = NULL;
    return tq_cuda_driver_open(&driver) && driver.device_count(&count) == 0 && count > 0 &&
           driver.device_get(&device, 0) == 0 && driver.context_retain(&primary, device) == 0 &&
           driver.context_push(primary) == 0;
}

void *device_new(size_t bytes)
{
    void *address = NULL;
    assert_int_equal(driver.allocate(&address, bytes), 0);
    return address;
}

void *device_copy(const void *from, size_t bytes)
{
    void *memory = device_new(bytes);
    assert_int_equal(driver.upload(memory, from, bytes), 0);
    return memory;
}

void device_free(void *memory)
{
    assert_int_equal(driver.release(memory), 0);
}

void device_read(void *to, const void *from, size_t bytes)
{
    assert_int_equal(driver.synchronise(NULL), 0);
    assert_int_equal(driver.download(to, from, bytes), 0);
}
