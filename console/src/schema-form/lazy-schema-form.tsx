import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Loading } from "../ui/states.tsx";
import type { SchemaFormProps } from "./schema-form.tsx";

let form: ComponentType<SchemaFormProps> | undefined;

/** A form made from a JSON schema; its code is loaded when the first one is shown. */
export function SchemaForm(props: SchemaFormProps) {
  const [, setLoaded] = useState(form !== undefined);
  useEffect(() => {
    if (form !== undefined) return;
    void import("./schema-form.tsx").then((module) => {
      form = module.default;
      setLoaded(true);
    });
  }, []);
  const Form = form;
  return Form === undefined ? <Loading what="the form" /> : <Form {...props} />;
}
