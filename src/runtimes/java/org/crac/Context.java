package org.crac;

import java.util.ArrayList;
import java.util.List;

/** Resources, kept by reference: the last one registered is told first before the freeze, and last after the fork. */
public class Context<R extends Resource> implements Resource {
  private final List<R> resources = new ArrayList<>();

  public synchronized void register(R resource) {
    resources.add(resource);
  }

  @Override
  public synchronized void beforeCheckpoint(Context<? extends Resource> context) throws Exception {
    for (int index = resources.size() - 1; index >= 0; index--) resources.get(index).beforeCheckpoint(this);
  }

  @Override
  public synchronized void afterRestore(Context<? extends Resource> context) throws Exception {
    for (R resource : resources) resource.afterRestore(this);
  }
}
