/* What this kernel can do, tried rather than guessed from its version. */
#ifndef FLASHD_FEATURES_H
#define FLASHD_FEATURES_H
#include <stdint.h>

uint32_t fl_features_probe(void);              /* enum fl_feature, without the CGROUP bits */
#endif
