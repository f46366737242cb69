/* SPDX-License-Identifier: MIT
 *
 * As much of Foundation as src/kernels/metal/host_metal.m uses, declared by us from Apple's documentation, so that the
 * file can be type-checked where there is no Apple SDK. A wrong line here hides a wrong call there. */
#ifndef TQ_STUB_FOUNDATION_H
#define TQ_STUB_FOUNDATION_H

#include <stddef.h>
#include <stdint.h>

typedef unsigned long NSUInteger;
typedef signed char BOOL;
#define YES ((BOOL)1)
#define NO  ((BOOL)0)
#define nil ((id)0)

__attribute__((objc_root_class))
@interface NSObject
+ (instancetype)alloc;
- (instancetype)init;
@end

@protocol NSCopying
@end

@interface NSString : NSObject <NSCopying>
+ (instancetype)stringWithUTF8String:(const char *)bytes;
+ (instancetype)stringWithFormat:(NSString *)format, ... __attribute__((format(__NSString__, 1, 2)));
@property(readonly) const char *UTF8String;
@end

@interface NSMutableString : NSString
- (void)appendFormat:(NSString *)format, ... __attribute__((format(__NSString__, 1, 2)));
@end

/* What the compiler makes of @"...". */
@interface NSConstantString : NSString
@end

@interface NSMutableDictionary<KeyType, ObjectType> : NSObject
+ (instancetype)dictionary;
- (ObjectType)objectForKeyedSubscript:(KeyType)key;
- (void)setObject:(ObjectType)object forKeyedSubscript:(KeyType<NSCopying>)key;
@end

typedef struct {
    unsigned long state;
    id __unsafe_unretained *itemsPtr;
    unsigned long *mutationsPtr;
    unsigned long extra[5];
} NSFastEnumerationState;

@interface NSMutableSet<ObjectType> : NSObject
+ (instancetype)set;
- (void)addObject:(ObjectType)object;
- (void)removeObject:(ObjectType)object;
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *)state
                                  objects:(ObjectType __unsafe_unretained[])buffer
                                    count:(NSUInteger)length;
@end

@interface NSError : NSObject
@property(readonly) NSString *localizedDescription;
@end

typedef const void *CFTypeRef;
CFTypeRef CFBridgingRetain(id object) __attribute__((cf_returns_retained));
void CFRelease(CFTypeRef object);

#endif
