// A PJRT plugin of XLA on the CPU, for tests: the part of the C interface that repa calls, over the C++ client that
// TensorFlow's library exports. .ci/xla builds it.
//
// XLA_CPU_DEVICES=N makes N devices of one machine. Faults on demand: with XLA_CPU_MEMORY=BYTES each device has only so
// much memory, with XLA_CPU_LOST_AFTER=N the device is lost after N programs have run, and XLA_CPU_API=MAJOR.MINOR tells
// another version of the interface.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "xla/hlo/builder/xla_computation.h"
#include "xla/pjrt/c/pjrt_c_api.h"
#include "xla/pjrt/pjrt_client.h"
#include "xla/pjrt/pjrt_executable.h"
#include "xla/pjrt/plugin/xla_cpu/cpu_client_options.h"
#include "xla/pjrt/plugin/xla_cpu/xla_cpu_pjrt_client.h"
#include "xla/pjrt/proto/compile_options.pb.h"

namespace xla {
absl::Status ParseMlirModuleStringAndConvertToXlaComputation(absl::string_view, XlaComputation&, bool, bool);
}

struct PJRT_Error {
  absl::StatusCode code;
  std::string text;
};
struct PJRT_Event {
  xla::Future<> future;
};
struct PJRT_DeviceDescription {
  std::string kind = "cpu";
};
struct PJRT_Device {
  xla::PjRtDevice* device;
  PJRT_DeviceDescription description;
  std::atomic<int64_t> in_use{0}, peak{0};
};
struct PJRT_Client {
  std::unique_ptr<xla::PjRtClient> client;
  std::string platform, version;
  std::vector<std::unique_ptr<PJRT_Device>> owned;
  std::vector<PJRT_Device*> devices;

  PJRT_Device* find(xla::PjRtDevice* device) {
    for (auto* d : devices)
      if (d->device == device) return d;
    return nullptr;
  }
};
struct PJRT_Executable {
  size_t outputs;
  std::string serialized;
  xla::CompiledMemoryStats stats;
};
struct PJRT_SerializedExecutable {
  std::string bytes;
};
struct PJRT_LoadedExecutable {
  PJRT_Client* client;
  std::unique_ptr<xla::PjRtLoadedExecutable> executable;
};
struct PJRT_Buffer {
  std::unique_ptr<xla::PjRtBuffer> buffer;
  PJRT_Device* device;
  int64_t bytes;

  PJRT_Buffer(std::unique_ptr<xla::PjRtBuffer> b, PJRT_Device* d) : buffer(std::move(b)), device(d) {
    bytes = buffer->GetOnDeviceSizeInBytes().value_or(0);
    device->peak = std::max<int64_t>(device->peak, device->in_use += bytes);
  }
  ~PJRT_Buffer() { device->in_use -= bytes; }
};

namespace {
PJRT_Error* fail(const absl::Status& s) {
  return s.ok() ? nullptr : new PJRT_Error{s.code(), std::string(s.message())};
}
#define TRY(expr)                     \
  do {                                \
    absl::Status status_ = (expr);    \
    if (!status_.ok()) return fail(status_); \
  } while (0)
#define ASSIGN(var, expr)                            \
  auto var##_or = (expr);                            \
  if (!var##_or.ok()) return fail(var##_or.status()); \
  auto var = std::move(var##_or).value()

int64_t number(const char* name, int64_t otherwise) {
  const char* text = getenv(name);
  return text ? atoll(text) : otherwise;
}

/// What a device has to say when so many bytes more are wanted than there are.
PJRT_Error* shortage(const PJRT_Device* device, int64_t bytes) {
  const int64_t limit = number("XLA_CPU_MEMORY", INT64_MAX);
  if (bytes <= 0 || device->in_use + bytes <= limit) return nullptr;
  return new PJRT_Error{absl::StatusCode::kResourceExhausted,
                        "Out of memory while trying to allocate " + std::to_string(bytes) + " bytes."};
}

void ErrorDestroy(PJRT_Error_Destroy_Args* a) { delete a->error; }
void ErrorMessage(PJRT_Error_Message_Args* a) {
  a->message = a->error->text.data();
  a->message_size = a->error->text.size();
}
PJRT_Error* ErrorGetCode(PJRT_Error_GetCode_Args* a) {
  a->code = (PJRT_Error_Code)a->error->code;
  return nullptr;
}
PJRT_Error* PluginInitialize(PJRT_Plugin_Initialize_Args*) { return nullptr; }
PJRT_Error* EventDestroy(PJRT_Event_Destroy_Args* a) {
  delete a->event;
  return nullptr;
}
PJRT_Error* EventIsReady(PJRT_Event_IsReady_Args* a) {
  a->is_ready = a->event->future.IsReady();
  return nullptr;
}
PJRT_Error* EventAwait(PJRT_Event_Await_Args* a) { return fail(a->event->future.Await()); }
PJRT_Error* EventError(PJRT_Event_Error_Args* a) { return fail(a->event->future.Await()); }

PJRT_Error* ClientCreate(PJRT_Client_Create_Args* a) {
  xla::CpuClientOptions options;
  options.cpu_device_count = number("XLA_CPU_DEVICES", 1);
  ASSIGN(client, xla::GetXlaPjrtCpuClient(options));
  auto* c = new PJRT_Client;
  c->platform = std::string(client->platform_name());
  c->version = std::string(client->platform_version());
  for (auto* device : client->addressable_devices()) {
    c->owned.push_back(std::make_unique<PJRT_Device>());
    c->owned.back()->device = device;
    c->devices.push_back(c->owned.back().get());
  }
  c->client = std::move(client);
  a->client = c;
  return nullptr;
}
PJRT_Error* ClientDestroy(PJRT_Client_Destroy_Args* a) {
  delete a->client;
  return nullptr;
}
PJRT_Error* ClientPlatformName(PJRT_Client_PlatformName_Args* a) {
  a->platform_name = a->client->platform.data();
  a->platform_name_size = a->client->platform.size();
  return nullptr;
}
PJRT_Error* ClientPlatformVersion(PJRT_Client_PlatformVersion_Args* a) {
  a->platform_version = a->client->version.data();
  a->platform_version_size = a->client->version.size();
  return nullptr;
}
PJRT_Error* ClientAddressableDevices(PJRT_Client_AddressableDevices_Args* a) {
  a->addressable_devices = a->client->devices.data();
  a->num_addressable_devices = a->client->devices.size();
  return nullptr;
}
PJRT_Error* ClientCompile(PJRT_Client_Compile_Args* a) {
  xla::XlaComputation computation;
  const absl::string_view text(a->program->code, a->program->code_size);
  TRY(xla::ParseMlirModuleStringAndConvertToXlaComputation(text, computation, false, false));
  xla::CompileOptionsProto proto;
  proto.ParseFromArray(a->compile_options, (int)a->compile_options_size);
  ASSIGN(options, xla::CompileOptions::FromProto(proto));
  ASSIGN(executable, a->client->client->CompileAndLoad(computation, options));
  a->executable = new PJRT_LoadedExecutable{a->client, std::move(executable)};
  return nullptr;
}
PJRT_Error* Deserialize(PJRT_Executable_DeserializeAndLoad_Args* a) {
  const absl::string_view bytes(a->serialized_executable, a->serialized_executable_size);
  ASSIGN(executable, a->client->client->LoadSerializedExecutable(bytes, std::nullopt, xla::LoadOptions()));
  a->loaded_executable = new PJRT_LoadedExecutable{a->client, std::move(executable)};
  return nullptr;
}

xla::PrimitiveType typeOf(PJRT_Buffer_Type type) {
  switch (type) {
    case PJRT_Buffer_Type_F32: return xla::F32;
    case PJRT_Buffer_Type_F64: return xla::F64;
    case PJRT_Buffer_Type_S32: return xla::S32;
    case PJRT_Buffer_Type_BF16: return xla::BF16;
    case PJRT_Buffer_Type_PRED: return xla::PRED;
    default: return xla::PRIMITIVE_TYPE_INVALID;
  }
}
PJRT_Error* BufferFromHost(PJRT_Client_BufferFromHostBuffer_Args* a) {
  std::vector<int64_t> dims(a->dims, a->dims + a->num_dims);
  const xla::PrimitiveType type = typeOf(a->type);
  if (type == xla::PRIMITIVE_TYPE_INVALID)
    return new PJRT_Error{absl::StatusCode::kInvalidArgument, "an element type that this plugin does not know"};
  int64_t bytes = type == xla::PRED ? 1 : type == xla::BF16 ? 2 : type == xla::F64 ? 8 : 4;
  for (int64_t dim : dims) bytes *= dim;
  if (auto* error = shortage(a->device, bytes)) return error;
  auto made = xla::MakePromise<>();
  auto promise = std::make_shared<xla::Promise<>>(std::move(made.first));
  ASSIGN(memory, a->device->device->default_memory_space());
  ASSIGN(buffer, a->client->client->BufferFromHostBuffer(
                     a->data, type, dims, std::nullopt,
                     (xla::PjRtClient::HostBufferSemantics)a->host_buffer_semantics,
                     [promise]() mutable { promise->Set(); }, memory, nullptr));
  a->done_with_host_buffer = new PJRT_Event{made.second};
  a->buffer = new PJRT_Buffer(std::move(buffer), a->device);
  return nullptr;
}

PJRT_Error* DeviceGetDescription(PJRT_Device_GetDescription_Args* a) {
  a->device_description = &a->device->description;
  return nullptr;
}
PJRT_Error* DescriptionKind(PJRT_DeviceDescription_Kind_Args* a) {
  a->device_kind = a->device_description->kind.data();
  a->device_kind_size = a->device_description->kind.size();
  return nullptr;
}
PJRT_Error* DeviceMemoryStats(PJRT_Device_MemoryStats_Args* a) {
  const int64_t limit = number("XLA_CPU_MEMORY", 0);
  if (!limit) return new PJRT_Error{absl::StatusCode::kUnimplemented, "the host's memory is not counted"};
  a->bytes_in_use = a->device->in_use;
  a->peak_bytes_in_use = a->device->peak;
  a->peak_bytes_in_use_is_set = true;
  a->bytes_limit = limit;
  a->bytes_limit_is_set = true;
  return nullptr;
}

PJRT_Error* ExecutableDestroy(PJRT_Executable_Destroy_Args* a) {
  delete a->executable;
  return nullptr;
}
PJRT_Error* ExecutableNumOutputs(PJRT_Executable_NumOutputs_Args* a) {
  a->num_outputs = a->executable->outputs;
  return nullptr;
}
PJRT_Error* ExecutableMemoryStats(PJRT_Executable_GetCompiledMemoryStats_Args* a) {
  const xla::CompiledMemoryStats& stats = a->executable->stats;
  a->argument_size_in_bytes = stats.argument_size_in_bytes;
  a->output_size_in_bytes = stats.output_size_in_bytes;
  a->alias_size_in_bytes = stats.alias_size_in_bytes;
  a->temp_size_in_bytes = stats.temp_size_in_bytes;
  return nullptr;
}
PJRT_Error* ExecutableSerialize(PJRT_Executable_Serialize_Args* a) {
  a->serialized_executable = new PJRT_SerializedExecutable{a->executable->serialized};
  a->serialized_bytes = a->serialized_executable->bytes.data();
  a->serialized_bytes_size = a->serialized_executable->bytes.size();
  a->serialized_executable_deleter = [](PJRT_SerializedExecutable* e) { delete e; };
  return nullptr;
}

PJRT_Error* LoadedDestroy(PJRT_LoadedExecutable_Destroy_Args* a) {
  delete a->executable;
  return nullptr;
}
PJRT_Error* LoadedGetExecutable(PJRT_LoadedExecutable_GetExecutable_Args* a) {
  auto& executable = a->loaded_executable->executable;
  ASSIGN(shapes, executable->GetOutputShapes());
  const size_t outputs = shapes[0].IsTuple() ? shapes[0].tuple_shapes().size() : 1;
  ASSIGN(serialized, executable->SerializeExecutable());
  ASSIGN(stats, executable->GetCompiledMemoryStats());
  a->executable = new PJRT_Executable{outputs, std::move(serialized), stats};
  return nullptr;
}

std::atomic<int64_t> runs{0};

PJRT_Error* LoadedExecute(PJRT_LoadedExecutable_Execute_Args* a) {
  PJRT_Client* client = a->executable->client;
  auto& executable = a->executable->executable;
  if (runs++ >= number("XLA_CPU_LOST_AFTER", INT64_MAX))
    return new PJRT_Error{absl::StatusCode::kInternal, "CUDA_ERROR_ECC_UNCORRECTABLE: the device is lost"};
  if (getenv("XLA_CPU_MEMORY")) {
    ASSIGN(stats, executable->GetCompiledMemoryStats());
    const int64_t bytes = stats.temp_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes;
    for (auto* device : executable->addressable_devices())
      if (auto* error = shortage(client->find(device), bytes)) return error;
  }
  std::vector<std::vector<xla::PjRtBuffer*>> args(a->num_devices);
  for (size_t d = 0; d < a->num_devices; d++)
    for (size_t i = 0; i < a->num_args; i++) args[d].push_back(a->argument_lists[d][i]->buffer.get());
  xla::ExecuteOptions options;
  for (size_t i = 0; i < a->options->num_non_donatable_input_indices; i++)
    options.non_donatable_input_indices.insert(a->options->non_donatable_input_indices[i]);
  std::optional<std::vector<xla::Future<>>> futures;
  if (a->device_complete_events) futures.emplace();
  ASSIGN(outputs, executable->Execute(args, options, futures));
  for (size_t d = 0; d < a->num_devices; d++) {
    PJRT_Device* device = client->find(executable->addressable_devices()[d]);
    for (size_t i = 0; i < outputs[d].size(); i++)
      a->output_lists[d][i] = new PJRT_Buffer(std::move(outputs[d][i]), device);
    if (a->device_complete_events) a->device_complete_events[d] = new PJRT_Event{(*futures)[d]};
  }
  return nullptr;
}

PJRT_Error* BufferDestroy(PJRT_Buffer_Destroy_Args* a) {
  delete a->buffer;
  return nullptr;
}
PJRT_Error* BufferReady(PJRT_Buffer_ReadyEvent_Args* a) {
  a->event = new PJRT_Event{a->buffer->buffer->GetReadyFuture()};
  return nullptr;
}
PJRT_Error* BufferToHost(PJRT_Buffer_ToHostBuffer_Args* a) {
  ASSIGN(bytes, a->src->buffer->GetOnDeviceSizeInBytes());
  if (!a->dst) {
    a->dst_size = bytes;
    return nullptr;
  }
  a->event = new PJRT_Event{a->src->buffer->CopyRawToHost(a->dst, 0, a->dst_size)};
  return nullptr;
}

PJRT_Api make() {
  PJRT_Api api;
  std::memset(&api, 0, sizeof api);
  api.struct_size = PJRT_Api_STRUCT_SIZE;
  api.pjrt_api_version.struct_size = PJRT_Api_Version_STRUCT_SIZE;
  api.pjrt_api_version.major_version = PJRT_API_MAJOR;
  api.pjrt_api_version.minor_version = PJRT_API_MINOR;
  if (const char* version = getenv("XLA_CPU_API"))
    sscanf(version, "%d.%d", &api.pjrt_api_version.major_version, &api.pjrt_api_version.minor_version);
  api.PJRT_Error_Destroy = ErrorDestroy;
  api.PJRT_Error_Message = ErrorMessage;
  api.PJRT_Error_GetCode = ErrorGetCode;
  api.PJRT_Plugin_Initialize = PluginInitialize;
  api.PJRT_Event_Destroy = EventDestroy;
  api.PJRT_Event_IsReady = EventIsReady;
  api.PJRT_Event_Await = EventAwait;
  api.PJRT_Event_Error = EventError;
  api.PJRT_Client_Create = ClientCreate;
  api.PJRT_Client_Destroy = ClientDestroy;
  api.PJRT_Client_PlatformName = ClientPlatformName;
  api.PJRT_Client_PlatformVersion = ClientPlatformVersion;
  api.PJRT_Client_AddressableDevices = ClientAddressableDevices;
  api.PJRT_Client_Compile = ClientCompile;
  api.PJRT_Client_BufferFromHostBuffer = BufferFromHost;
  api.PJRT_Device_GetDescription = DeviceGetDescription;
  api.PJRT_Device_MemoryStats = DeviceMemoryStats;
  api.PJRT_DeviceDescription_Kind = DescriptionKind;
  api.PJRT_Executable_Destroy = ExecutableDestroy;
  api.PJRT_Executable_NumOutputs = ExecutableNumOutputs;
  api.PJRT_Executable_GetCompiledMemoryStats = ExecutableMemoryStats;
  api.PJRT_Executable_Serialize = ExecutableSerialize;
  api.PJRT_Executable_DeserializeAndLoad = Deserialize;
  api.PJRT_LoadedExecutable_Destroy = LoadedDestroy;
  api.PJRT_LoadedExecutable_GetExecutable = LoadedGetExecutable;
  api.PJRT_LoadedExecutable_Execute = LoadedExecute;
  api.PJRT_Buffer_Destroy = BufferDestroy;
  api.PJRT_Buffer_ReadyEvent = BufferReady;
  api.PJRT_Buffer_ToHostBuffer = BufferToHost;
  return api;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) const PJRT_Api* GetPjrtApi() {
  static const PJRT_Api api = make();
  return &api;
}
