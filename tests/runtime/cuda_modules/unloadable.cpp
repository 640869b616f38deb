// A CUDA module on a machine that lacks a library which it was linked with.
extern "C" int something_absent();
extern "C" int minim_cuda_device_count() { return something_absent(); }
