/* SPDX-License-Identifier: MIT
 *
 * gpu_metal.h on Metal. Memory is shared between the processor and the GPU. Launches are collected in one command
 * buffer, whose kernels run one after the other, until somebody waits. Kernels are compiled from source when the device
 * is opened, and specialised when they are first launched with new constants.
 *
 * Kernels follow addresses in memory (Metal 3), so Metal is told of every buffer that they may come to. Operations lock
 * the state, because several threads call them. */
#include "kernels/metal/host_metal.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include "context.h"
#include "kernels/metal/launch_metal.h"

#include <string.h>
#include <unistd.h>

extern const char tq_metal_source[]; /* Made by cmake/tq_embed_metal.cmake. */

@interface TQMetalState : NSObject
@property(nonatomic) id<MTLDevice> device;
@property(nonatomic) id<MTLCommandQueue> queue;
@property(nonatomic) id<MTLLibrary> library;
@property(nonatomic) NSMutableDictionary<NSString *, id<MTLComputePipelineState>> *pipelines;
@property(nonatomic) NSMutableSet<id<MTLBuffer>> *buffers; /* That were allocated here. */
@property(nonatomic) id<MTLCommandBuffer> commands;        /* Nil: nothing was launched since the last wait. */
@property(nonatomic) id<MTLComputeCommandEncoder> encoder;
@end

@implementation TQMetalState
@end

/* `state` and `buffer` own what they point to. */
typedef struct metal_device {
    tq_gpu base;
    const tq_allocator *allocator;
    void *state;
} metal_device;

typedef struct metal_memory {
    tq_gpu_memory base;
    void *buffer;
} metal_memory;

static TQMetalState *state_of(const tq_gpu *device)
{
    return (__bridge TQMetalState *)((const metal_device *)device)->state;
}

static id<MTLBuffer> buffer_of(const tq_gpu_memory *memory)
{
    return (__bridge id<MTLBuffer>)((const metal_memory *)memory)->buffer;
}

static const char *sentence_of(NSError *error)
{
    const char *text = error.localizedDescription.UTF8String;
    return text != NULL ? text : "Metal does not say what failed";
}

/* --- memory --------------------------------------------------------------------------------------------------------
 */

static tq_status make_memory(tq_gpu *device, id<MTLBuffer> buffer, size_t bytes, tq_gpu_memory **memory)
{
    metal_memory *made = NULL;
    if (buffer != nil) {
        made = tq_allocate(((metal_device *)device)->allocator, 1, sizeof *made);
    }
    if (made == NULL) {
        return tq_gpu_fail(device, TQ_ERR_OUT_OF_MEMORY, "Metal: out of memory for a buffer");
    }
    made->base = (tq_gpu_memory){bytes, buffer.contents, buffer.gpuAddress};
    made->buffer = (void *)CFBridgingRetain(buffer);
    *memory = &made->base;
    return TQ_OK;
}

/* Kernels may read and write it without its being an argument. */
static void make_resident(id<MTLComputeCommandEncoder> encoder, id<MTLBuffer> buffer)
{
    [encoder useResource:buffer usage:MTLResourceUsageRead | MTLResourceUsageWrite];
}

static tq_status metal_alloc(tq_gpu *device, size_t bytes, tq_gpu_memory **memory)
{
    TQMetalState *state = state_of(device);
    @autoreleasepool {
        @synchronized(state) {
            id<MTLBuffer> buffer = [state.device newBufferWithLength:bytes options:MTLResourceStorageModeShared];
            const tq_status status = make_memory(device, buffer, bytes, memory);
            if (status == TQ_OK) {
                [state.buffers addObject:buffer];
                make_resident(state.encoder, buffer); /* If there is one; else when it begins. */
            }
            return status;
        }
    }
}

/* Whole pages of the system's can be used where they are. */
static tq_status metal_wrap(tq_gpu *device, void *data, size_t bytes, tq_gpu_memory **memory)
{
    const size_t page = (size_t)getpagesize();
    if ((uintptr_t)data % page != 0 || bytes % page != 0) {
        return TQ_ERR_UNSUPPORTED;
    }
    TQMetalState *state = state_of(device);
    @autoreleasepool {
        @synchronized(state) {
            id<MTLBuffer> buffer = [state.device newBufferWithBytesNoCopy:data
                                                                   length:bytes
                                                                  options:MTLResourceStorageModeShared
                                                              deallocator:nil];
            return make_memory(device, buffer, bytes, memory);
        }
    }
}

static void metal_free(tq_gpu *device, tq_gpu_memory *memory)
{
    TQMetalState *state = state_of(device);
    @synchronized(state) {
        [state.buffers removeObject:buffer_of(memory)]; /* One that was wrapped is not there. */
    }
    CFRelease(((metal_memory *)memory)->buffer);
    tq_release(((metal_device *)device)->allocator, memory);
}

/* --- running -------------------------------------------------------------------------------------------------------
 */

/* Who waits, waits under the lock, so that nobody returns before what another thread has committed is done. */
static tq_status metal_wait(tq_gpu *device)
{
    TQMetalState *state = state_of(device);
    @autoreleasepool {
        @synchronized(state) {
            id<MTLCommandBuffer> commands = state.commands;
            if (commands == nil) {
                return TQ_OK;
            }
            [state.encoder endEncoding];
            state.encoder = nil;
            state.commands = nil;
            [commands commit];
            [commands waitUntilCompleted];
            if (commands.status == MTLCommandBufferStatusCompleted) {
                return TQ_OK;
            }
            return tq_gpu_fail(device, TQ_ERR_BACKEND, sentence_of(commands.error));
        }
    }
}

/* The kernel for these constants; nil, with the sentence set, if it cannot be had. */
static id<MTLComputePipelineState> make_pipeline(tq_gpu *device, const tq_launch *launch)
{
    TQMetalState *state = state_of(device);
    NSError *error = nil;
    MTLFunctionConstantValues *values = [[MTLFunctionConstantValues alloc] init];
    for (unsigned i = 0; i < launch->n_constants; i++) {
        [values setConstantValue:&launch->constants[i] type:MTLDataTypeInt atIndex:i];
    }
    NSString *name = [NSString stringWithUTF8String:tq_metal_kernel_name(launch->kernel)];
    id<MTLFunction> function = [state.library newFunctionWithName:name constantValues:values error:&error];
    id<MTLComputePipelineState> pipeline = nil;
    if (function != nil) {
        pipeline = [state.device newComputePipelineStateWithFunction:function error:&error];
    }
    if (pipeline == nil) {
        tq_gpu_fail(device, TQ_ERR_BACKEND, sentence_of(error));
    }
    return pipeline;
}

static id<MTLComputePipelineState> find_pipeline(tq_gpu *device, const tq_launch *launch)
{
    TQMetalState *state = state_of(device);
    NSMutableString *key = [NSMutableString stringWithFormat:@"%u", launch->kernel];
    for (unsigned i = 0; i < launch->n_constants; i++) {
        [key appendFormat:@"/%d", launch->constants[i]];
    }
    id<MTLComputePipelineState> pipeline = state.pipelines[key];
    if (pipeline == nil) {
        pipeline = make_pipeline(device, launch);
        state.pipelines[key] = pipeline; /* Nil stores nothing. */
    }
    return pipeline;
}

static tq_status begin_commands(tq_gpu *device)
{
    TQMetalState *state = state_of(device);
    if (state.commands == nil) {
        id<MTLCommandBuffer> commands = [state.queue commandBuffer];
        state.encoder = [commands computeCommandEncoder];
        if (state.encoder == nil) {
            return tq_gpu_fail(device, TQ_ERR_BACKEND, "Metal gives no command encoder");
        }
        state.commands = commands;
        for (id<MTLBuffer> buffer in state.buffers) {
            make_resident(state.encoder, buffer);
        }
    }
    return TQ_OK;
}

static void encode_launch(id<MTLComputeCommandEncoder> encoder, id<MTLComputePipelineState> pipeline,
                          const tq_launch *launch)
{
    [encoder setComputePipelineState:pipeline];
    if (launch->args_bytes != 0) {
        [encoder setBytes:launch->args length:launch->args_bytes atIndex:TQ_AT_ARGS];
    }
    for (unsigned i = TQ_AT_ARGS + 1; i < launch->n_buffers; i++) {
        const tq_gpu_slice *slice = &launch->buffers[i];
        if (slice->memory != NULL) {
            [encoder setBuffer:buffer_of(slice->memory) offset:slice->at atIndex:i];
        }
    }
    if (launch->shared_bytes != 0) {
        [encoder setThreadgroupMemoryLength:launch->shared_bytes atIndex:0];
    }
    [encoder dispatchThreadgroups:MTLSizeMake(launch->groups[0], launch->groups[1], launch->groups[2])
            threadsPerThreadgroup:MTLSizeMake(launch->threads, 1, 1)];
}

static tq_status metal_launch(tq_gpu *device, const tq_launch *launch)
{
    TQMetalState *state = state_of(device);
    @autoreleasepool {
        @synchronized(state) {
            id<MTLComputePipelineState> pipeline = find_pipeline(device, launch);
            if (pipeline == nil) {
                return TQ_ERR_BACKEND;
            }
            if (pipeline.threadExecutionWidth != TQ_METAL_SIMD ||
                pipeline.maxTotalThreadsPerThreadgroup < launch->threads ||
                state.device.maxThreadgroupMemoryLength < launch->shared_bytes) {
                return tq_gpu_fail(device, TQ_ERR_UNSUPPORTED,
                                   "Metal: this GPU has too small threadgroups for the kernels, or odd simdgroups");
            }
            const tq_status status = begin_commands(device);
            if (status == TQ_OK) {
                encode_launch(state.encoder, pipeline, launch);
            }
            return status;
        }
    }
}

static void metal_destroy(tq_gpu *device)
{
    metal_device *mine = (metal_device *)device;
    [state_of(device).encoder endEncoding]; /* Metal wants that also of what will never run. */
    CFRelease(mine->state);
    tq_release(mine->allocator, mine);
}

static const tq_gpu_ops metal_ops = {
    .alloc = metal_alloc,
    .wrap = metal_wrap,
    .free = metal_free,
    .launch = metal_launch,
    .wait = metal_wait,
    .destroy = metal_destroy,
};

/* --- opening -------------------------------------------------------------------------------------------------------
 */

/* Encoded bytes are only right if no multiplication is fused with an addition and no division is approximated. */
static id<MTLLibrary> compile_kernels(id<MTLDevice> gpu, NSError **error)
{
    MTLCompileOptions *options = [[MTLCompileOptions alloc] init];
    if (@available(macOS 15.0, iOS 18.0, *)) {
        options.mathMode = MTLMathModeSafe;
    } else {
        options.fastMathEnabled = NO;
    }
    return [gpu newLibraryWithSource:[NSString stringWithUTF8String:tq_metal_source] options:options error:error];
}

bool tq_metal_gpu_exists(void)
{
    @autoreleasepool {
        return MTLCreateSystemDefaultDevice() != nil;
    }
}

static tq_status explain(tq_status status, const char *sentence, char *problem, size_t room)
{
    strlcpy(problem, sentence, room);
    return status;
}

tq_status tq_metal_gpu_open(const tq_allocator *allocator, tq_gpu **device, char *problem, size_t room)
{
    @autoreleasepool {
        NSError *error = nil;
        TQMetalState *state = [[TQMetalState alloc] init];
        state.device = MTLCreateSystemDefaultDevice();
        if (state.device == nil) {
            return explain(TQ_ERR_UNSUPPORTED, "Metal: this machine has no GPU that can be used", problem, room);
        }
        state.queue = [state.device newCommandQueue];
        state.library = compile_kernels(state.device, &error);
        if (state.library == nil) {
            return explain(TQ_ERR_BACKEND, sentence_of(error), problem, room);
        }
        state.pipelines = [NSMutableDictionary dictionary];
        state.buffers = [NSMutableSet set];
        metal_device *made = tq_allocate(allocator, 1, sizeof *made);
        if (made == NULL || state.queue == nil) {
            tq_release(allocator, made);
            return explain(TQ_ERR_OUT_OF_MEMORY, "Metal: out of memory for a device", problem, room);
        }
        made->base.ops = &metal_ops;
        made->allocator = allocator;
        made->state = (void *)CFBridgingRetain(state);
        *device = &made->base;
        return TQ_OK;
    }
}
