package org.crac;

/** Hooks around a function template, with the names of the CRaC project, which AWS Lambda uses as well. */
public interface Resource {
  void beforeCheckpoint(Context<? extends Resource> context) throws Exception;

  void afterRestore(Context<? extends Resource> context) throws Exception;
}
