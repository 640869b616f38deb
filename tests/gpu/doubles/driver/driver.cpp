// As much of CUDA's driver as cuDNN asks for when it plans with engines that it compiles at run time, with no device: it loads
// what it has compiled, looks its kernels up and sets their attributes. What would touch a device is not supported.
#include <elf.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>

#define DRIVER extern "C" __attribute__((visibility("default"))) int

namespace {

// Of CUresult.
constexpr int kSuccess = 0;
constexpr int kInvalidImage = 200;
constexpr int kNotFound = 500;
constexpr int kNotSupported = 801;

constexpr int kCudaMachine = 190;
constexpr int kMaxThreadsPerBlock = 0;  // of CUfunction_attribute
constexpr int kAttributes = 64;

int context;  // the current one, of no device

struct Library {
  std::set<std::string> kernels;
};

struct Kernel {
  std::string name;
  std::array<int, kAttributes> attributes{};
};

template <class T>
const T* at(const void* image, std::uint64_t offset) {
  return reinterpret_cast<const T*>(static_cast<const char*>(image) + offset);
}

/// The functions that an image for a GPU defines.
bool read_kernels(const void* image, Library& library) {
  const auto* header = at<Elf64_Ehdr>(image, 0);
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != kCudaMachine) return false;
  const auto* sections = at<Elf64_Shdr>(image, header->e_shoff);
  for (int s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const auto* names = at<char>(image, sections[sections[s].sh_link].sh_offset);
    const auto* symbols = at<Elf64_Sym>(image, sections[s].sh_offset);
    for (std::uint64_t i = 0; i < sections[s].sh_size / sizeof(Elf64_Sym); ++i) {
      if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC) library.kernels.insert(names + symbols[i].st_name);
    }
  }
  return !library.kernels.empty();
}

bool is_attribute(int attribute) { return attribute >= 0 && attribute < kAttributes; }

}  // namespace

DRIVER cuInit(unsigned /*flags*/) { return kSuccess; }
DRIVER cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}
DRIVER cuDeviceGetCount(int* count) {
  *count = 0;
  return kSuccess;
}
DRIVER cuGetErrorString(int /*error*/, const char** text) {
  *text = "the driver of the tests";
  return kSuccess;
}
DRIVER cuGetErrorName(int /*error*/, const char** name) {
  *name = "DRIVER_OF_THE_TESTS";
  return kSuccess;
}
DRIVER cuCtxGetCurrent(void** current) {
  *current = &context;
  return kSuccess;
}

DRIVER cuLibraryLoadData(void** library, const void* image, void* /*jit_options*/, void** /*jit_values*/, unsigned /*jit_count*/,
                         void* /*options*/, void** /*values*/, unsigned /*count*/) {
  auto* loaded = new Library;
  if (!read_kernels(image, *loaded)) {
    delete loaded;
    return kInvalidImage;
  }
  *library = loaded;
  return kSuccess;
}
DRIVER cuLibraryUnload(void* library) {
  delete static_cast<Library*>(library);
  return kSuccess;
}
DRIVER cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  if (!static_cast<Library*>(library)->kernels.contains(name)) return kNotFound;
  *kernel = new Kernel{.name = name};  // cuDNN keeps it for good
  return kSuccess;
}
DRIVER cuKernelGetFunction(void** function, void* kernel) {
  *function = kernel;
  return kSuccess;
}
DRIVER cuFuncSetAttribute(void* kernel, int attribute, int value) {
  if (is_attribute(attribute)) static_cast<Kernel*>(kernel)->attributes[static_cast<std::size_t>(attribute)] = value;
  return kSuccess;
}
DRIVER cuFuncGetAttribute(int* value, int attribute, void* kernel) {
  const auto& attributes = static_cast<const Kernel*>(kernel)->attributes;
  *value = is_attribute(attribute) ? attributes[static_cast<std::size_t>(attribute)] : 0;
  if (attribute == kMaxThreadsPerBlock) *value = 1024;
  return kSuccess;
}
DRIVER cuKernelSetAttribute(int attribute, int value, void* kernel, int /*device*/) {
  return cuFuncSetAttribute(kernel, attribute, value);
}
DRIVER cuKernelGetAttribute(int* value, int attribute, void* kernel, int /*device*/) {
  return cuFuncGetAttribute(value, attribute, kernel);
}
DRIVER cuOccupancyMaxPotentialClusterSize(int* size, void* /*function*/, void* /*configuration*/) {
  *size = 8;
  return kSuccess;
}
DRIVER cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* /*function*/, int /*threads*/, std::size_t /*shared*/) {
  *blocks = 1;
  return kSuccess;
}

// The CUDA runtime inside cuDNN finds nothing, and so no driver.
DRIVER cuGetProcAddress_v2(const char* /*name*/, void** address, int /*version*/, std::uint64_t /*flags*/, int* status) {
  *address = nullptr;
  if (status != nullptr) *status = 1;
  return kNotFound;
}
DRIVER cuGetProcAddress(const char* /*name*/, void** address, int /*version*/, std::uint64_t /*flags*/) {
  *address = nullptr;
  return kNotFound;
}
DRIVER cuGetExportTable(const void** table, const void* /*id*/) {
  *table = nullptr;
  return kNotFound;
}

// Must be there.
#define NOT_SUPPORTED(name) \
  DRIVER name() { return kNotSupported; }
NOT_SUPPORTED(cuCtxGetDevice)
NOT_SUPPORTED(cuCtxGetLimit)
NOT_SUPPORTED(cuCtxPopCurrent)
NOT_SUPPORTED(cuCtxPushCurrent)
NOT_SUPPORTED(cuDeviceGet)
NOT_SUPPORTED(cuDeviceGetAttribute)
NOT_SUPPORTED(cuDevicePrimaryCtxRelease)
NOT_SUPPORTED(cuDevicePrimaryCtxReset)
NOT_SUPPORTED(cuDevicePrimaryCtxRetain)
NOT_SUPPORTED(cuLaunchCooperativeKernel)
NOT_SUPPORTED(cuLaunchKernel)
NOT_SUPPORTED(cuLaunchKernelEx)
NOT_SUPPORTED(cuLibraryLoadFromFile)
NOT_SUPPORTED(cuLinkAddData)
NOT_SUPPORTED(cuLinkAddData_v2)
NOT_SUPPORTED(cuLinkAddFile_v2)
NOT_SUPPORTED(cuLinkComplete)
NOT_SUPPORTED(cuLinkCreate)
NOT_SUPPORTED(cuLinkCreate_v2)
NOT_SUPPORTED(cuLinkDestroy)
NOT_SUPPORTED(cuMemcpyDtoH_v2)
NOT_SUPPORTED(cuModuleGetFunction)
NOT_SUPPORTED(cuModuleGetGlobal_v2)
NOT_SUPPORTED(cuModuleLoadData)
NOT_SUPPORTED(cuModuleLoadDataEx)
NOT_SUPPORTED(cuModuleLoadFatBinary)
NOT_SUPPORTED(cuModuleUnload)
NOT_SUPPORTED(cuStreamGetCtx)
NOT_SUPPORTED(cuStreamSynchronize)
NOT_SUPPORTED(cuTensorMapEncodeTiled)
