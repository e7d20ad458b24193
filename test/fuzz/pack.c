/* The runtimes' pack: whatever the bytes, it is refused or what comes out is within its bounds. */
#include <flashd/error.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct fl_error error = { 0 };
  struct fl_pack *pack = NULL;
  int result = fl_pack_parse(data, size, &pack, &error);

  if (result < 0) {
    if (pack || error.code == FL_OK)
      abort();
    return 0;
  }
  if (pack->count > FL_RUNTIMES_MAX)
    abort();
  for (uint32_t index = 0; index < pack->count; index++) {
    const struct fl_pack_runtime *runtime = &pack->runtime[index];

    if (!runtime->argv[0] || !runtime->argv[0][0] || strlen(runtime->name) >= FL_NAME_MAX || runtime->files > FL_PACK_FILES_MAX)
      abort();
    if (!strcmp(runtime->name, FL_OWN_DIRECTORY) || runtime->own || (runtime->may_be_own && strchr(runtime->argv[0], '/')))
      abort();
    if (runtime->may_be_own) {
      fl_pack_make_own(&pack->runtime[index]);
      if (!runtime->own || !runtime->argv[0] || (runtime->argv[1] && runtime->argv[1][0] == '-'))
        abort();
    }
    for (uint32_t file = 0; file < runtime->files; file++) {
      const struct fl_pack_file *entry = &runtime->file[file];

      if (entry->path[0] == '/' || strstr(entry->path, "..") == entry->path || strlen(entry->path) > FL_PACK_PATH_MAX)
        abort();
      if (entry->size && (entry->bytes < data || entry->bytes + entry->size > data + size))
        abort();
    }
  }
  fl_pack_free(pack);
  return 0;
}
