/*
 * Reads the runtimes' pack: see pack.h. Every length is checked against what is left before it is used.
 */
#include "sandbox/pack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { VERSION = 2, TEXT_MAX = 4096 };

struct reader { const uint8_t *at; size_t left; struct fl_error *err; };

enum { KEEPS_PID = 1, MAY_BE_OWN = 2 };                          /* flags of a runtime */

static int bad(struct reader *from, const char *what)
{
  return fl_fail(from->err, FL_ERR_BAD_MESSAGE, EBADMSG, "runtimes' pack", "%s, %zu bytes before the end", what, from->left);
}

static int take(struct reader *from, size_t size, const uint8_t **ret_bytes)
{
  if (size > from->left)
    return bad(from, "it is cut short");
  *ret_bytes = from->at;
  from->at += size;
  from->left -= size;
  return 0;
}

static int take_u32(struct reader *from, uint32_t max, uint32_t *ret_value)
{
  const uint8_t *bytes = NULL;
  int result = take(from, 4, &bytes);

  if (result < 0)
    return result;
  *ret_value = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
  return *ret_value > max ? bad(from, "a number is out of range") : 0;
}

static int take_string(struct reader *from, uint32_t max, char **ret_text)
{
  const uint8_t *bytes = NULL;
  uint32_t length;
  int result = take_u32(from, max, &length);

  if (result == 0)
    result = take(from, length, &bytes);
  if (result < 0)
    return result;
  if (memchr(bytes, 0, length))
    return bad(from, "a string contains NUL");
  *ret_text = strndup((const char *)bytes, length);
  return *ret_text ? 0 : fl_fail(from->err, FL_ERR_SYSTEM, ENOMEM, "strndup", NULL);
}

static int take_list(struct reader *from, char *list[FL_PACK_ARGS_MAX + 1])
{
  uint32_t count;
  int result = take_u32(from, FL_PACK_ARGS_MAX, &count);

  for (uint32_t index = 0; result == 0 && index < count; index++)
    result = take_string(from, TEXT_MAX, &list[index]);
  return result;
}

/* A name becomes a directory beside that of our own programs: one plain path component. */
static bool name_valid(const char *name)
{
  return *name && *name != '.' && !strchr(name, '/') && strcmp(name, FL_OWN_DIRECTORY) != 0;
}

/* Relative, and no component is empty, "." or "..". */
static bool path_valid(const char *path)
{
  for (;;) {
    size_t length = strcspn(path, "/");

    if (length == 0 || (length == 1 && path[0] == '.') || (length == 2 && path[0] == '.' && path[1] == '.'))
      return false;
    if (!path[length])
      return true;
    path += length + 1;
  }
}

static int take_file(struct reader *from, struct fl_pack_file *ret_file)
{
  char *path = NULL;
  int result = take_string(from, FL_PACK_PATH_MAX, &path);

  if (result < 0)
    return result;
  ret_file->path = path;                                         /* owned by the pack from here on */
  if (!path_valid(path))
    return bad(from, "a file's path is not relative and plain");
  result = take_u32(from, 0777, &ret_file->mode);
  if (result == 0)
    result = take_u32(from, UINT32_MAX, &ret_file->size);
  return result < 0 ? result : take(from, ret_file->size, &ret_file->bytes);
}

static int take_runtime(struct reader *from, const struct fl_pack *pack, struct fl_pack_runtime *ret_runtime)
{
  fl_autofree char *name = NULL;
  uint32_t flags, files;
  int result = take_string(from, FL_NAME_MAX - 1, &name);

  if (result < 0)
    return result;
  if (!name_valid(name))
    return bad(from, "a runtime's name is not a plain one");
  strcpy(ret_runtime->name, name);
  for (const struct fl_pack_runtime *other = pack->runtime; other < ret_runtime; other++)
    if (!strcmp(other->name, name))
      return bad(from, "two runtimes have one name");
  result = take_u32(from, KEEPS_PID | MAY_BE_OWN, &flags);
  ret_runtime->keeps_pid = result == 0 && (flags & KEEPS_PID);
  ret_runtime->may_be_own = result == 0 && (flags & MAY_BE_OWN);
  if (result == 0)
    result = take_list(from, ret_runtime->argv);
  if (result == 0 && (!ret_runtime->argv[0] || !ret_runtime->argv[0][0] || (ret_runtime->argv[0][0] != '/' && strchr(ret_runtime->argv[0], '/'))))
    return bad(from, "a runtime's program is neither an absolute path nor a bare name");
  if (result == 0 && ret_runtime->may_be_own && ret_runtime->argv[0][0] == '/')
    return bad(from, "a program that may be our own has no bare name");
  if (result == 0)
    result = take_list(from, ret_runtime->envp);
  for (char **variable = ret_runtime->envp; result == 0 && *variable; variable++)
    if (**variable == '=' || !strchr(*variable, '='))
      return bad(from, "an environment variable is not NAME=value");
  if (result == 0)
    result = take_list(from, ret_runtime->etc);
  for (char **path = ret_runtime->etc; result == 0 && *path; path++)
    if (!path_valid(*path))
      return bad(from, "a path below /etc is not relative and plain");
  if (result == 0)
    result = take_u32(from, FL_PACK_FILES_MAX, &files);
  while (result == 0 && ret_runtime->files < files)
    result = take_file(from, &ret_runtime->file[ret_runtime->files++]);
  return result;
}

int fl_pack_parse(const uint8_t *bytes, size_t length, struct fl_pack **ret_pack, struct fl_error *err)
{
  struct reader from = { bytes, length, err };
  struct fl_pack *pack = calloc(1, sizeof *pack);
  const uint8_t *magic = NULL;
  uint32_t version, count;
  int result;

  if (!pack)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", NULL);
  result = take(&from, 4, &magic);
  if (result == 0 && memcmp(magic, "FLPK", 4))
    result = bad(&from, "it does not start with FLPK");
  if (result == 0)
    result = take_u32(&from, UINT32_MAX, &version);
  if (result == 0 && version != VERSION)
    result = bad(&from, "unknown version");
  if (result == 0)
    result = take_u32(&from, FL_RUNTIMES_MAX, &count);
  while (result == 0 && pack->count < count)
    result = take_runtime(&from, pack, &pack->runtime[pack->count++]);
  if (result == 0 && from.left > 0)
    result = bad(&from, "something follows the last runtime");
  if (result < 0) {
    fl_pack_free(pack);
    return result;
  }
  *ret_pack = pack;
  return 0;
}

void fl_pack_make_own(struct fl_pack_runtime *runtime)
{
  runtime->own = true;
  while (runtime->argv[1] && runtime->argv[1][0] == '-') {
    free(runtime->argv[1]);
    for (int at = 1; runtime->argv[at]; at++)
      runtime->argv[at] = runtime->argv[at + 1];
  }
}

void fl_pack_free(struct fl_pack *pack)
{
  if (!pack)
    return;
  for (uint32_t index = 0; index < pack->count; index++) {
    struct fl_pack_runtime *runtime = &pack->runtime[index];

    for (int at = 0; at < FL_PACK_ARGS_MAX; at++) {
      free(runtime->argv[at]);
      free(runtime->envp[at]);
      free(runtime->etc[at]);
    }
    for (uint32_t file = 0; file < runtime->files; file++)
      free((char *)runtime->file[file].path);
  }
  free(pack);
}
