/* What the files of nftables.h share: messages of a batch, and the nests that occur in several of them. */
#ifndef FLASHD_NFT_MESSAGE_H
#define FLASHD_NFT_MESSAGE_H
#include "network/nftables.h"

void fl_nft_message(struct fl_nft *nft, uint16_t type, uint16_t flags);

struct fl_nft_expression { size_t element, data; };
/* Inside of an attribute of that type: NFTA_LIST_ELEM in a rule. */
struct fl_nft_expression fl_nft_expression_in(struct fl_nft *nft, uint16_t type, const char *name);
void fl_nft_expression_end(struct fl_nft *nft, struct fl_nft_expression opened);

void fl_nft_put_value(struct fl_nft *nft, uint16_t type, const void *bytes, size_t size);
void fl_nft_put_verdict(struct fl_nft *nft, uint16_t type, int32_t code, const char *chain);
/* So many bytes a second, and burst at once: met by what comes faster. */
void fl_nft_put_rate(struct fl_nft *nft, uint16_t type, uint64_t bytes_per_second, uint32_t burst);
#endif
